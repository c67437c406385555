"""When a part is away: what can go on goes on, what cannot says so at once, and all is well when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from prometheus_client import REGISTRY
from pydantic import SecretStr

from api.data.app import DataApi
from core.ids import is_ulid
from tests.api.data.conftest import settings_of
from tests.api.data.proxy import Wire, wire
from tests.api.data.world import Base, Token, World
from tests.conftest import Databases


@asynccontextmanager
async def running(world: World, **more: Any) -> AsyncIterator[DataApi]:
    app = DataApi(settings_of(world.databases, **more))
    async with app.router.lifespan_context(app):
        await _until(lambda: app.callers.is_fresh)
        yield app


def caller(app: DataApi, token: Token) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://data", headers=token.headers
    )


def through(world: World, line: Wire, database: str) -> SecretStr:
    dsn = world.databases.dsn("data_api", database)
    return SecretStr(dsn.replace(f":{world.databases.cluster.port}/", f":{line.port}/"))


async def _until(condition: Any, within_s: float = 6.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_cached_tokens_go_on_for_a_bound_while_the_control_db_is_away(base: Base, world: World) -> None:
    port = world.databases.cluster.port
    async with (
        wire("127.0.0.1", port) as line,
        running(world, control_dsn=through(world, line, "control"), stale_auth_s=0.5) as app,
    ):
        http, stranger = caller(app, await base.token()), caller(app, await base.token())
        assert (await http.post(base.path(), json={"fields": {"Name": "a"}})).status_code == 201
        line.cut()
        cut_at = time.monotonic()
        await asyncio.sleep(0.2)
        assert (await http.post(base.path(), json={"fields": {"Name": "b"}})).status_code == 201
        unknown = await stranger.get(base.path())
        assert (unknown.status_code, unknown.json()["code"]) == (503, "unavailable")
        assert int(unknown.headers["retry-after"]) >= 1
        while (late := await http.get(base.path())).status_code == 200:  # noqa: ASYNC110  (time itself is waited for)
            await asyncio.sleep(0.05)
        assert late.status_code == 503
        assert 0.4 < time.monotonic() - cut_at < 4
        assert (await http.get("/healthz")).json() == {"status": "ok", "control_db": "silent"}
        line.mend()
        await _until(lambda: app.callers.is_fresh)
        assert (await http.get(base.path())).status_code == 200
        assert (await stranger.get(base.path())).status_code == 200


async def test_what_was_revoked_while_nobody_could_tell_is_refused_after(base: Base, world: World) -> None:
    async with (
        wire("127.0.0.1", world.databases.cluster.port) as line,
        running(world, control_dsn=through(world, line, "control"), stale_auth_s=60) as app,
    ):
        token = await base.token()
        http = caller(app, token)
        assert (await http.get(base.path())).status_code == 200
        line.cut()
        await world.control("update control.api_tokens set revoked_at = now() where id = $1", token.id)
        assert (await http.get(base.path())).status_code == 200
        line.mend()
        deadline = time.monotonic() + 5
        while (await http.get(base.path())).status_code != 401:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def test_records_go_on_while_the_activity_db_is_away_and_the_log_catches_up(
    base: Base, world: World
) -> None:
    async with (
        wire("127.0.0.1", world.databases.cluster.port) as line,
        running(world, activity_dsn=through(world, line, "activity")) as app,
    ):
        http = caller(app, await base.token())
        dropped = REGISTRY.get_sample_value("planebase_access_records_dropped_total")
        line.cut()
        answers = [await http.post(base.path(), json={"fields": {"Name": f"{n}"}}) for n in range(20)]
        await asyncio.sleep(1.2)
        answers += [await http.get(base.path()) for _ in range(5)]
        assert [a.status_code for a in answers] == [201] * 20 + [200] * 5
        line.mend()
        wanted = {a.headers["x-request-id"] for a in answers}
        deadline = time.monotonic() + 10
        while await _logged(world, base) != wanted:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert REGISTRY.get_sample_value("planebase_access_records_dropped_total") == dropped


async def test_a_data_cluster_that_is_away_answers_503_and_is_found_again(base: Base, world: World) -> None:
    async with wire("127.0.0.1", world.databases.cluster.port) as line:
        await world.control(
            "insert into control.clusters (id, host, port, database, region, class)"
            " values ($1, '127.0.0.1', $2, 'data', 'local', 'dedicated')",
            f"wire-{line.port}",
            line.port,
        )
        await world.control(
            "update gateway.placements set cluster_id = $2 where tenant_id = $1",
            base.tenant_id,
            f"wire-{line.port}",
        )
        async with running(world) as app:
            http = caller(app, await base.token())
            made = await http.post(base.path(), json={"fields": {"Name": "a"}})
            assert made.status_code == 201
            line.cut()
            for answer in (
                await http.get(base.path()),
                await http.post(base.path(), json={"fields": {"Name": "b"}}),
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
                assert int(answer.headers["retry-after"]) >= 1
                assert "127.0.0.1" not in answer.text
            line.mend()
            assert (await http.get(made.headers["location"])).json() == made.json()
            sent = {"Idempotency-Key": "after"}
            again = await http.post(base.path(), json={"fields": {"Name": "b"}}, headers=sent)
            assert again.status_code == 201


async def test_what_a_request_leaves_behind_is_written_at_the_latest_at_the_end(
    base: Base, world: World
) -> None:
    token = await base.token()
    async with running(world) as app:
        http = caller(app, token)
        answers = [await http.post(base.path(), json={"fields": {"Name": f"{n}"}}) for n in range(7)]
        answers += [await http.get(base.path(), params={"limit": 0})]
        elsewhere = await http.get(f"/bases/{token.id}/tables/x/records")
        http.headers["Authorization"] = "Bearer nobody"
        nobody = await http.get(base.path())
    assert (elsewhere.status_code, nobody.status_code) == (404, 401)
    assert await _logged(world, base) == {a.headers["x-request-id"] for a in [*answers, elsewhere]}
    async with world.databases.own("activity") as conn:
        row = await conn.fetchrow(
            "select * from activity.api_access_logs where id = $1", answers[0].headers["x-request-id"]
        )
        stranger = await conn.fetchrow(
            "select * from activity.api_access_logs where id = $1", nobody.headers["x-request-id"]
        )
    assert (row["method"], row["status"], row["route"]) == (
        "POST",
        201,
        "/bases/{base_id}/tables/{table_id}/records",
    )
    assert (row["token_id"], row["base_id"], row["operation_id"]) == (token.id, base.id, row["id"])
    assert row["bytes"] == len(answers[0].content)
    assert 0 < row["latency_ms"] < 5_000
    assert row["ip"] == "127.0.0.1"
    assert (stranger["status"], stranger["tenant_id"], stranger["token_id"]) == (401, None, None)
    async with world.databases.own("control") as conn:
        used = await conn.fetchval(
            "select last_used_at > now() - interval '1 minute' from control.api_tokens where id = $1",
            token.id,
        )
        events = await conn.fetch(
            "select id, quantity, window_start from control.usage_events where tenant_id = $1 and meter = 'api_calls'",
            base.tenant_id,
        )
    assert used
    assert sum(e["quantity"] for e in events) == 9
    assert all(e["window_start"].second == 0 and is_ulid(e["id"]) for e in events)


async def test_a_flush_that_is_repeated_counts_nothing_twice(base: Base, world: World) -> None:
    async with (
        wire("127.0.0.1", world.databases.cluster.port) as line,
        running(world, control_dsn=through(world, line, "control")) as app,
    ):
        http = caller(app, await base.token())
        for _ in range(5):
            assert (await http.get(base.path())).status_code == 200
        written = app.gateway.add_usage

        async def written_but_not_heard(events: Any) -> None:
            await written(list(events))
            raise OSError("the answer was lost")

        app.gateway.add_usage = written_but_not_heard  # type: ignore[method-assign]
        for _ in range(2):
            with suppress(OSError):
                await app.background._flush_all()
        app.gateway.add_usage = written  # type: ignore[method-assign]
    async with world.databases.own("control") as conn:
        total = await conn.fetchval(
            "select sum(quantity) from control.usage_events where tenant_id = $1", base.tenant_id
        )
    assert total == 5


async def _logged(world: World, base: Base) -> set[str]:
    async with world.databases.own("activity") as conn:
        rows = await conn.fetch(
            "select id from activity.api_access_logs where tenant_id = $1", base.tenant_id
        )
    return {row["id"] for row in rows}


async def test_a_cluster_that_refuses_our_password_is_one_that_is_away(
    databases: Databases, base: Base
) -> None:
    token = await base.token()
    settings = settings_of(databases, data_password=SecretStr("another"))
    app = DataApi(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://data", headers=token.headers
        ) as http:
            answer = await http.get(base.path())
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["code"] == "unavailable"
