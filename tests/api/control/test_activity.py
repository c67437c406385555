"""What happened: newest first, page by page, late rows included, and only what the user may know of."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from core.ids import new
from tests.api import worlds
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import Databases

NOW = datetime.now(UTC)


async def add(databases: Databases, world: World, *events: dict[str, object]) -> list[str]:
    made = [
        {
            "id": new(),
            "occurred_at": (NOW - timedelta(minutes=number)).isoformat(),
            "tenant_id": world.tenant,
            "resource_type": "record",
            "resource_id": new(),
            "action": "RECORD_CREATE",
            "diff_json": {},
            **event,
        }
        for number, event in enumerate(events)
    ]
    async with databases.connect("maintenance_worker", "activity") as conn:
        await conn.execute("select activity.add_resource_events($1::jsonb)", json.dumps(made, default=str))
    return [str(event["id"]) for event in made]


async def test_pages_hold_each_event_once_even_late_ones(
    databases: Databases, portal: Portal, world: World
) -> None:
    at = NOW.isoformat()
    made = await add(databases, world, *({"occurred_at": at} for _ in range(5)), {}, {})
    late = await add(databases, world, {"occurred_at": "2019-05-06T07:08:09Z"})
    path = f"/tenants/{world.tenant}/activity?limit=3"
    seen: list[str] = []
    times: list[str] = []
    cursor: str | None = ""
    for _ in range(5):
        page = (await portal.call("GET", path + (f"&cursor={cursor}" if cursor else ""))).json()
        seen += [event["id"] for event in page["events"]]
        times += [event["occurred_at"] for event in page["events"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(made + late)
    assert len(set(seen)) == len(seen)
    assert times == sorted(times, reverse=True)
    assert seen[-1] == late[0]


async def test_filters(databases: Databases, portal: Portal, world: World) -> None:
    base = world.ids["base_id"]
    resource = new()
    made = await add(
        databases,
        world,
        {"base_id": base},
        {"resource_type": "token", "action": "TOKEN_CREATE", "resource_id": resource},
        {"base_id": base, "action": "RECORD_DELETE"},
        {"occurred_at": (NOW - timedelta(days=2)).isoformat()},
    )

    async def found(**query: str) -> list[str]:
        answer = await portal.call("GET", f"/tenants/{world.tenant}/activity", params=query)
        return [event["id"] for event in answer.json()["events"]]

    assert await found(base_id=base) == [made[0], made[2]]
    assert await found(action="RECORD_DELETE") == [made[2]]
    assert await found(resource_type="token") == [made[1]]
    assert await found(resource_type="token", resource_id=resource) == [made[1]]
    since = (NOW - timedelta(days=1)).isoformat()
    assert made[3] not in await found(**{"from": since})
    assert await found(to=since) == [made[3]]
    assert await found(base_id=base, action="TOKEN_CREATE") == []


async def test_a_member_sees_the_own_workspaces_and_the_tenant_itself(
    databases: Databases, portal: Portal, world: World
) -> None:
    made = await add(
        databases, world, {"workspace_id": world.ids["workspace_id"]}, {"workspace_id": new()}, {}
    )

    async def seen(user: str | None) -> list[str]:
        acting = world.users[user] if user else None
        answer = await portal.call("GET", f"/tenants/{world.tenant}/activity", user=acting)
        return [event["id"] for event in answer.json()["events"]]

    assert await seen("viewer") == [made[0], made[2]]
    assert await seen(None) == made


async def test_requests_are_listed_for_admins(databases: Databases, portal: Portal, world: World) -> None:
    logs = [
        {
            "id": new(),
            "occurred_at": NOW.isoformat(),
            "tenant_id": world.tenant,
            "token_id": world.ids["token_id"],
            "route": "/bases/{base_id}/tables/{table_id}/records",
            "method": "GET",
            "status": status,
            "latency_ms": 1.5,
            "bytes": 10,
        }
        for status in (200, 404)
    ]
    async with databases.connect("data_api", "activity") as conn:
        await conn.execute("select activity.add_access_logs($1::jsonb)", json.dumps(logs))
    path = f"/tenants/{world.tenant}/access-logs?token_id={world.ids['token_id']}"
    assert (await portal.call("GET", path, user=world.users["editor"])).status_code == 403
    both = (await portal.call("GET", path, user=world.users["admin"])).json()["requests"]
    assert {row["status"] for row in both} == {200, 404}
    failed = (await portal.call("GET", f"{path}&status=404", user=world.users["admin"])).json()["requests"]
    assert [row["id"] for row in failed] == [logs[1]["id"]]
    page = (await portal.call("GET", f"{path}&limit=1")).json()
    rest = (await portal.call("GET", f"{path}&limit=1&cursor={page['next_cursor']}")).json()
    assert {page["requests"][0]["id"], rest["requests"][0]["id"]} == {log["id"] for log in logs}


@pytest.mark.parametrize("limit", [0, 201])
async def test_a_page_has_its_bounds(portal: Portal, world: World, limit: int) -> None:
    answer = await portal.call("GET", f"/tenants/{world.tenant}/activity?limit={limit}")
    assert answer.status_code == 400


async def test_the_default_page_is_fifty(databases: Databases, portal: Portal) -> None:
    world = await worlds.make(databases)
    await add(databases, world, *({} for _ in range(60)))
    page = (await portal.call("GET", f"/tenants/{world.tenant}/activity")).json()
    assert len(page["events"]) == 50
    assert page["next_cursor"]
