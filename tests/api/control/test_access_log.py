"""Every request leaves its record in the access log, and none waits for it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from pydantic import SecretStr

from api import access_log
from api.control.app import create_app
from core.ids import new
from tests.api import worlds
from tests.api.control import routes
from tests.api.control.conftest import Portal, client, settings
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows

NOWHERE = SecretStr("postgresql://control_api:x@127.0.0.1:1/activity")
JSON = {"Content-Type": "application/json"}


@contextlib.asynccontextmanager
async def running(databases: Databases, **changes: Any) -> AsyncIterator[Portal]:
    """An app of this test's own: what is left at its end is written then."""
    app = create_app(settings(databases, **changes))
    async with app.router.lifespan_context(app), client(app) as http:
        yield Portal(http)


async def record(databases: Databases, answer: httpx.Response) -> dict[str, Any]:
    """The one record of a request."""
    found = await rows(
        databases,
        "activity",
        "select * from activity.api_access_logs where id = $1",
        answer.headers["x-request-id"],
    )
    assert len(found) == 1, answer.request.url
    return dict(found[0])


def dropped() -> float:
    return REGISTRY.get_sample_value("planebase_access_records_dropped_total") or 0.0


async def test_a_request_is_recorded_as_it_was_answered(databases: Databases, world: World) -> None:
    tenant, base, viewer = f"/tenants/{world.tenant}", f"/bases/{world.ids['base_id']}", world.users["viewer"]
    async with running(databases) as portal:
        answers = {
            ("/tenants/{tenant_id}", 200): await portal.call("GET", tenant),
            ("/bases/{base_id}", 200): await portal.call("PATCH", base, json={"name": "B"}, key=new()),
            ("/bases/{base_id}", 403): await portal.call("PATCH", base, json={"name": "B"}, user=viewer),
            ("/workspaces/{workspace_id}/members/{user_id}", 404): await portal.call(
                "DELETE", f"/workspaces/{world.ids['workspace_id']}/members/{new()}"
            ),
            ("/tenants/{tenant_id}/tokens", 422): await portal.call("POST", f"{tenant}/tokens", json={}),
            ("/tenants/{tenant_id}/channels", 400): await portal.call(
                "POST", f"{tenant}/channels", content=b"{", headers=JSON
            ),
            ("/tenants/{tenant_id}/activity", 400): await portal.call("GET", f"{tenant}/activity?limit=0"),
            ("/tenants/{tenant_id}", 405): await portal.call("DELETE", tenant),
        }
    for (route, status), answer in answers.items():
        assert answer.status_code == status, answer.text
        row = await record(databases, answer)
        assert (row["tenant_id"], row["route"]) == (world.tenant, route)
        assert (row["method"], row["status"]) == (answer.request.method, status)
        assert (row["bytes"], row["ip"]) == (len(answer.content), "127.0.0.1")
        assert (row["token_id"], row["operation_id"]) == (None, row["id"])
        assert row["base_id"] == (world.ids["base_id"] if route == "/bases/{base_id}" else None)
        assert 0 < row["latency_ms"] < 60_000


async def test_every_route_tells_whose_its_requests_are(databases: Databases, app: FastAPI) -> None:
    world = await worlds.make(databases)
    answers = []
    async with running(databases) as portal:
        for route in routes.every(app.openapi()):
            path = route.path.format(**world.ids, user_id=world.users["editor"], version=1)
            answers.append((route, await portal.call(route.method, path, json=routes.body(route))))
    for route, answer in answers:
        row = await record(databases, answer)
        assert row["route"] == route.path
        if set(route.params) - {"user_id"}:
            assert row["tenant_id"] == world.tenant, str(route)
        elif str(route) == "POST /tenants":
            assert row["tenant_id"] == answer.json()["tenant_id"]
        else:
            assert row["tenant_id"] is None, str(route)


async def test_what_is_not_there_for_the_caller_is_no_tenants(
    databases: Databases, world: World, other: World
) -> None:
    async with running(databases) as portal:
        answers = [
            await portal.call("GET", f"/tenants/{other.tenant}", user=world.owner),
            await portal.call("GET", f"/bases/{other.ids['base_id']}", user=world.owner),
            await portal.call("GET", f"/tenants/{new()}"),
            await portal.call("GET", f"/tenants/{new()}%0A?colour=red"),
            await portal.call("GET", f"/tenants/{world.tenant}", headers={"Authorization": "Bearer x"}),
            await portal.call("GET", "/nothing"),
        ]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 400, 401, 404]
    for answer in answers:
        row = await record(databases, answer)
        assert (row["tenant_id"], row["base_id"]) == (None, None)


async def test_a_tenant_sees_its_own_requests_and_no_others(
    databases: Databases, portal: Portal, world: World, other: World
) -> None:
    mine = [
        await portal.call("GET", f"/tenants/{world.tenant}", user=world.owner),
        await portal.call("GET", f"/bases/{world.ids['base_id']}", user=world.users["viewer"]),
    ]
    theirs = [
        await portal.call("GET", f"/tenants/{other.tenant}", user=other.owner),
        await portal.call("GET", f"/tenants/{other.tenant}", user=world.owner),
    ]
    wanted = {answer.headers["x-request-id"] for answer in mine}
    deadline = time.monotonic() + 10
    seen: dict[str, Any] = {}
    while not wanted <= seen.keys():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
        page = await portal.call("GET", f"/tenants/{world.tenant}/access-logs?limit=200", user=world.owner)
        seen = {row["id"]: row for row in page.json()["requests"]}
    assert not seen.keys() & {answer.headers["x-request-id"] for answer in theirs}
    assert seen[mine[1].headers["x-request-id"]]["route"] == "/bases/{base_id}"
    assert {row["token_id"] for row in seen.values()} == {None}


async def test_without_the_activity_database_requests_are_answered_and_the_lost_are_counted(
    databases: Databases, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "MAX_RECORDS", 3)
    before = dropped()
    async with running(databases, activity_dsn=NOWHERE) as portal:
        for _ in range(3):
            assert (await portal.call("GET", f"/tenants/{world.tenant}")).status_code == 200
        assert dropped() == before
        for number in (1, 2):
            answer = await portal.call("PATCH", f"/tenants/{world.tenant}", json={"name": "N"})
            assert answer.status_code == 200
            assert dropped() == before + number
    assert dropped() == before + 5


async def test_what_could_not_be_written_is_written_when_it_can_be_and_once(
    databases: Databases, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = access_log.AccessLog.add
    failed = asyncio.Event()

    async def written_but_not_heard(self: access_log.AccessLog, lines: list[str]) -> None:
        await written(self, lines)
        if not failed.is_set():
            failed.set()
            raise OSError("the answer was lost")

    monkeypatch.setattr(access_log.AccessLog, "add", written_but_not_heard)
    before = dropped()
    async with running(databases) as portal:
        answer = await portal.call("GET", f"/tenants/{world.tenant}")
        await asyncio.wait_for(failed.wait(), 10)
        later = await portal.call("GET", f"/tenants/{world.tenant}")
    assert (await record(databases, answer))["status"] == 200
    assert (await record(databases, later))["status"] == 200
    assert dropped() == before
