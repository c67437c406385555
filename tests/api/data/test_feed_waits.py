"""Following a base as it changes: nothing is missed whoever writes, waits, leaves or restarts, and waiting is cheap."""

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.data import watches
from api.data.app import DataApi
from api.data.watches import Watches
from core import ids
from db.data import feed, names
from db.data.homes import Claims, Home
from planebase.ports import free_port
from tests.api.data.conftest import Client, settings_of
from tests.api.data.test_feed import FEW, all_after, feed_of, read
from tests.api.data.world import Base, Token, World
from tests.conftest import Databases

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture
async def small(world: World) -> Base:
    """A new tenant's base with a small table."""
    made = await world.tenant()
    await made.add_table("Tasks", FEW)
    return made


@contextlib.asynccontextmanager
async def another(databases: Databases, token: Token, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a Data API of its own, which ends with it."""
    app = DataApi(settings_of(databases, **more))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://data", headers=token.headers, timeout=60
        ) as http,
    ):
        yield http


def place(change: dict[str, Any]) -> tuple[str, int]:
    return change["record_id"], change["version"]


async def write_for(http: httpx.AsyncClient, base: Base, until: float, rng: random.Random) -> None:
    """Create, change and delete at random."""
    mine: list[str] = []
    while time.monotonic() < until:
        match rng.randrange(4):
            case 0:
                rows = [{"fields": {"Name": ids.new()}} for _ in range(rng.randrange(1, 30))]
                answer = await http.post(base.path(), json={"records": rows})
                assert answer.status_code == 201, answer.text
                made = answer.json()["records"]
                mine += [r["id"] for r in made]
            case 1:
                mine.append((await http.post(base.path(), json={"fields": {"Name": "x"}})).json()["id"])
            case 2 if mine:
                await http.patch(f"{base.path()}/{rng.choice(mine)}", json={"fields": {"Name": ids.new()}})
            case 3 if mine:
                await http.delete(f"{base.path()}/{mine.pop(rng.randrange(len(mine)))}")


async def hold_open(world: World, base: Base, until: float, rng: random.Random) -> int:
    """Write in transactions that stay open while others commit; returns how many rows were committed."""
    table = names.table(base.tenant_id, str(base.tables["Tasks"].id))
    committed = 0
    async with world.databases.own("data") as conn:
        while time.monotonic() < until:
            transaction = conn.transaction()
            await transaction.start()
            await conn.execute("set local role tenant_owner")
            sql = f"insert into {table} (id, created_by, updated_by) values ($1::text, $1::text, $1::text)"
            await conn.execute(sql, ids.new())
            await asyncio.sleep(rng.uniform(0.05, 0.4))
            await conn.execute(sql, ids.new())
            if rng.random() < 0.3:
                await transaction.rollback()
            else:
                await transaction.commit()
                committed += 2
    return committed


async def test_every_change_is_read_once_and_in_order(
    small: Base, world: World, client: Client, databases: Databases
) -> None:
    """16 writers, four of transactions that stay open; readers that leave in a page or a wait; an API that restarts."""
    token, rng = await small.token(), random.Random(7)
    until = time.monotonic() + 3
    done = asyncio.Event()
    http = client(token)

    async def follow(seed: int) -> list[tuple[str, int]]:
        mine, seen, after = random.Random(seed), [], None
        while True:
            was_done = done.is_set()
            params: dict[str, Any] = {"limit": mine.choice((7, 100, 1_000))} | (
                {"after": after} if after else {}
            )
            if seed == 3 or mine.random() < 0.3:
                # This one reads from processes that come and go.
                async with another(databases, token) as own:
                    page = await read(own, small, **params)
            else:
                asking = asyncio.create_task(read(http, small, wait=1, **params))
                if mine.random() < 0.3 and not was_done:
                    await asyncio.sleep(mine.uniform(0, 0.1))
                    asking.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        page = await asking
                        asking.cancel()
                    if asking.cancelled():
                        continue
                page = await asking
            taken = page["changes"]
            if taken and mine.random() < 0.3:  # only a part of the page is taken in
                taken = taken[: mine.randrange(len(taken)) + 1]
                after = taken[-1]["cursor"]
            else:
                after = page["next_cursor"]
            seen += [place(change) for change in taken]
            if was_done and not page["has_more"] and taken == page["changes"] and not taken:
                return seen

    following = [asyncio.create_task(follow(seed)) for seed in range(4)]
    held = asyncio.gather(*(hold_open(world, small, until, rng) for _ in range(4)))
    await asyncio.gather(*(write_for(http, small, until, random.Random(n)) for n in range(12)))
    committed = sum(await held)
    done.set()
    written = [(r["record_id"], r["version"]) for r in await world.changes(small)]
    assert committed
    assert len(written) > 300
    for seen in await asyncio.gather(*following):
        assert seen == written


async def test_a_new_generation_comes_after_the_old_one(small: Base, world: World, client: Client) -> None:
    """A move or a restore raises the generation: what is written then comes later, whatever its number."""
    http = client(await small.token())
    for n in range(3):
        await http.post(small.path(), json={"fields": {"Name": f"old {n}"}})
    first = await read(http, small, limit=1)
    end = (await read(http, small))["next_cursor"]
    waiting = asyncio.create_task(read(http, small, after=end, wait=10))
    await asyncio.sleep(0.2)
    async with world.databases.own("data") as conn, world.databases.own("control") as control:
        for database, table in ((conn, "platform.fences"), (control, "gateway.placements")):
            await database.execute(
                f"update {table} set generation = generation + 1 where tenant_id = $1", small.tenant_id
            )
    async with world.databases.administer("data") as conn:
        await conn.execute(
            "insert into platform.changes (tenant_id, generation, xid, origin, workspace_id, base_id, table_id,"
            " record_id, version, action, after) values ($1, 2, '5', 'other', $2, $3, $4, $5, 1, 'create', $6)",
            small.tenant_id,
            small.workspace_id,
            small.id,
            small.tables["Tasks"].id,
            ids.new(),
            f'{{"f_{small.tables["Tasks"].fields[0].id}": "new 0"}}',
        )
    assert [c["after"]["Name"] for c in (await waiting)["changes"]] == ["new 0"]
    await http.post(small.path(), json={"fields": {"Name": "new 1"}})
    rest = await all_after(http, small, after=first["next_cursor"], limit=1)
    assert [c["after"]["Name"] for c in rest] == ["old 1", "old 2", "new 0", "new 1"]


async def test_who_waits_is_told_soon_and_otherwise_answered_in_time(small: Base, client: Client) -> None:
    http = client(await small.token())
    after = (await read(http, small, after="latest"))["next_cursor"]
    started = time.monotonic()
    page = await read(http, small, after=after, wait=1)
    assert 0.9 < time.monotonic() - started < 3
    assert (page["changes"], page["has_more"]) == ([], False)
    waiting = asyncio.create_task(read(http, small, after=page["next_cursor"], wait=30))
    await asyncio.sleep(1.5)
    await http.post(small.path(), json={"fields": {"Name": "a"}})
    started = time.monotonic()
    assert [c["after"]["Name"] for c in (await waiting)["changes"]] == ["a"]
    assert time.monotonic() - started < 2


async def test_all_who_wait_at_a_base_cost_one_look_and_no_connection(
    small: Base, client: Client, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    newest = feed.newest

    async def counted(home: Home, claims: Claims) -> Any:
        looks.append(claims.base_id)
        return await newest(home, claims)

    monkeypatch.setattr(feed, "newest", counted)
    tokens = [await small.token() for _ in range(5)]
    async with another(databases, tokens[0], pool_max_size=1) as http:
        after = (await read(http, small, after="latest"))["next_cursor"]
        waiting = [
            asyncio.create_task(
                http.get(feed_of(small), params={"after": after, "wait": 20}, headers=t.headers)
            )
            for t in tokens
            for _ in range(20)
        ]
        await asyncio.sleep(1.0)
        looks.clear()
        await asyncio.sleep(2.0)
        assert 2 <= len(looks) <= 8
        # The one connection is there for others.
        started = time.monotonic()
        assert (await http.post(small.path(), json={"fields": {"Name": "a"}})).status_code == 201
        assert time.monotonic() - started < 1
        answers = await asyncio.gather(*waiting)
        assert {a.status_code for a in answers} == {200}
        assert {a.json()["changes"][0]["after"]["Name"] for a in answers} == {"a"}
        await asyncio.sleep(1.2)
        looks.clear()
        await asyncio.sleep(0.7)
        assert looks == []  # nobody waits any more


async def test_a_token_that_is_revoked_waits_no_longer(small: Base, client: Client, world: World) -> None:
    token = await small.token()
    http = client(token)
    after = (await read(http, small, after="latest"))["next_cursor"]
    waiting = asyncio.create_task(http.get(feed_of(small), params={"after": after, "wait": 30}))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await world.control("update control.api_tokens set revoked_at = now() where id = $1", token.id)
    answer = await asyncio.wait_for(waiting, 5)
    assert answer.status_code == 401


async def test_a_flood_of_waits_is_refused(
    small: Base, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await small.token(), await small.token()
    https = [client(one), client(two)]
    after = (await read(https[0], small, after="latest"))["next_cursor"]
    wait = {"after": after, "wait": 5}
    held = [asyncio.create_task(https[0].get(feed_of(small), params=wait)) for _ in range(20)]
    await asyncio.sleep(0.3)
    answer = await https[0].get(feed_of(small), params=wait)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    assert (await https[0].get(feed_of(small), params={"after": after})).status_code == 200
    monkeypatch.setattr(watches, "MAX_WAITING", 20)
    answer = await https[1].get(feed_of(small), params=wait)
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    await https[1].post(small.path(), json={"fields": {"Name": "a"}})
    assert {a.status_code for a in await asyncio.gather(*held)} == {200}
    after = (await read(https[0], small, after="latest"))["next_cursor"]
    assert (await https[0].get(feed_of(small), params={"after": after, "wait": 1})).status_code == 200


async def test_many_bases_are_looked_at_no_more_often_in_all() -> None:
    made = Watches()
    assert made.shortest_pause_s == watches.SHORTEST_S
    for n in range(1_000):
        made._watches[n] = None  # type: ignore[index, assignment]
    assert 1_000 / made.shortest_pause_s <= 200


class Process:
    """The Data API as it is served, which can be ended and started again."""

    def __init__(self, databases: Databases) -> None:
        settings = settings_of(databases)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = {
            **os.environ,
            "PLANEBASE_DATA_PORT": str(self.port),
            "PLANEBASE_CONTROL_DSN": settings.control_dsn.get_secret_value(),
            "PLANEBASE_ACTIVITY_DSN": settings.activity_dsn.get_secret_value(),
            "PLANEBASE_DATA_PASSWORD": settings.data_password.get_secret_value(),
            "PLANEBASE_CURSOR_SECRET": settings.cursor_secret.get_secret_value(),
        }

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "api.data", cwd=ROOT, env=self._env, stdout=asyncio.subprocess.DEVNULL
        )
        async with httpx.AsyncClient(base_url=self.url) as http:
            for _ in range(600):
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get("/healthz")).status_code == 200:
                        return
                await asyncio.sleep(0.1)
        raise AssertionError("the Data API does not answer")

    async def stop(self) -> float:
        """End it, and return how long that took."""
        started = time.monotonic()
        self.process.terminate()
        assert await asyncio.wait_for(self.process.wait(), 30) in (0, -15)
        return time.monotonic() - started


async def test_waits_end_with_their_client_and_with_their_server(
    small: Base, client: Client, databases: Databases
) -> None:
    token = await small.token()
    process = Process(databases)
    await process.start()
    try:
        async with httpx.AsyncClient(base_url=process.url, headers=token.headers, timeout=60) as http:
            after = (await read(http, small, after="latest"))["next_cursor"]
            head = f"GET {feed_of(small)}?wait=30&after={after} HTTP/1.1\r\nhost: x\r\n"
            head += f"authorization: Bearer {token.secret}\r\n\r\n"
            held = [await asyncio.open_connection("127.0.0.1", process.port) for _ in range(20)]
            for _, writer in held:
                writer.write(head.encode())
            await asyncio.sleep(0.5)
            wait = {"after": after, "wait": 30}
            assert (await http.get(feed_of(small), params=wait)).status_code == 429
            for _, writer in held:
                writer.close()
            await asyncio.sleep(0.5)
            waiting = [asyncio.create_task(http.get(feed_of(small), params=wait)) for _ in range(3)]
            await asyncio.sleep(0.5)
            assert not any(w.done() for w in waiting)
            assert await process.stop() < 6
            answers = await asyncio.gather(*waiting)
            assert {a.status_code for a in answers} == {200}
            assert {len(a.json()["changes"]) for a in answers} == {0}
        # What is written while it is away is there when it comes back.
        await client(token).post(small.path(), json={"fields": {"Name": "between"}})
        await process.start()
        async with httpx.AsyncClient(base_url=process.url, headers=token.headers, timeout=60) as http:
            again = await read(http, small, after=answers[0].json()["next_cursor"], wait=5)
            assert [c["after"]["Name"] for c in again["changes"]] == ["between"]
    finally:
        if process.process.returncode is None:
            await process.stop()


async def test_news_of_other_tables_is_looked_at_seldom(
    small: Base, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a quiet table in a busy base reads no page for each change of it, and misses none of his own."""
    await small.add_table("Quiet", FEW)
    http = client(await small.token())
    reads: list[str] = []
    page = feed.read

    async def counted(home: Home, claims: Claims, *rest: Any) -> Any:
        reads.append(claims.base_id)
        return await page(home, claims, *rest)

    after = (await read(http, small, after="latest"))["next_cursor"]
    monkeypatch.setattr(feed, "read", counted)
    quiet = small.tables["Quiet"].id
    waiting = asyncio.create_task(read(http, small, after=after, tables=quiet, wait=20))
    for _ in range(60):
        await http.post(small.path(), json={"fields": {"Name": "busy"}})
        await asyncio.sleep(0.05)
    assert not waiting.done()
    assert 3 <= len(reads) <= 20
    await http.post(small.path("Quiet"), json={"fields": {"Name": "here"}})
    assert [c["after"]["Name"] for c in (await waiting)["changes"]] == ["here"]
