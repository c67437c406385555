"""Another tenant's ids, in every place of every route: they answer like ids that nobody has."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from core.ids import new
from tests.api import worlds
from tests.api.control import routes
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows


def without_request_id(answer: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    request_id = answer.headers["x-request-id"]
    body = answer.content.replace(request_id.encode(), b"(request)")
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "content-length")}
    return answer.status_code, body, headers


async def everything_of(databases: Databases, world: World) -> str:
    """What the other tenant's rows are."""
    found = []
    for database, sql in (
        ("control", "select * from control.tenants where id = $1"),
        ("control", "select * from control.workspaces where tenant_id = $1 order by id"),
        ("control", "select * from control.bases where tenant_id = $1 order by id"),
        ("control", "select * from control.api_tokens where tenant_id = $1 order by id"),
        ("control", "select * from control.operations where tenant_id = $1 order by id"),
        ("control", "select * from control.wallets where tenant_id = $1"),
        ("control", "select * from control.subscriptions where tenant_id = $1"),
        (
            "control",
            "select * from control.memberships m join control.workspaces w on w.id = m.workspace_id"
            " where w.tenant_id = $1 order by m.id",
        ),
        ("alarms", "select * from alarms.alerts where tenant_id = $1"),
        ("alarms", "select * from alarms.channels where tenant_id = $1"),
        ("alarms", "select * from alarms.notifications where tenant_id = $1"),
    ):
        found.append(await rows(databases, database, sql, world.tenant))
    return json.dumps(found, default=str)


@pytest.mark.parametrize("role", ["owner", "viewer"])
async def test_anothers_id_in_a_path_is_nobodys(
    databases: Databases, app: FastAPI, portal: Portal, world: World, other: World, role: str
) -> None:
    before = await everything_of(databases, other)
    tried = 0
    user = world.users[role]
    for route in routes.every(app.openapi()):
        mine = {**world.ids, "user_id": world.users["editor"], "version": 1}
        foreign = {**other.ids, "user_id": other.owner}
        if routes.ACTIONS[str(route)] is None:
            continue
        for swapped in [name for name in route.params if name != "version"]:
            answers = []
            for wrong in (foreign[swapped], new()):
                path = route.path.format(**(mine | {swapped: wrong}))
                answers.append(await portal.call(route.method, path, user=user, json=routes.body(route)))
            assert answers[0].status_code == 404, f"{route} {swapped}: {answers[0].text}"
            assert without_request_id(answers[0]) == without_request_id(answers[1]), f"{route} {swapped}"
            tried += 1
    assert tried > 40
    assert await everything_of(databases, other) == before


async def test_anothers_id_in_a_body_or_a_filter_is_nobodys(
    databases: Databases, portal: Portal, world: World, other: World
) -> None:
    before = await everything_of(databases, other)
    tenant = world.ids["tenant_id"]
    for user in (None, world.owner):
        for member in ("workspace_id", "base_id"):
            answers = []
            for wrong in (other.ids[member], new()):
                body = {"scopes": ["records:read"], member: wrong}
                answers.append(await portal.call("POST", f"/tenants/{tenant}/tokens", user=user, json=body))
            assert answers[0].status_code == 422
            assert without_request_id(answers[0]) == without_request_id(answers[1])
        for path in ("activity", "access-logs", "operations"):
            answers = []
            for wrong in (other.ids["base_id"], new()):
                address = f"/tenants/{tenant}/{path}?base_id={wrong}"
                answers.append(await portal.call("GET", address, user=user))
            assert answers[0].status_code == 200
            assert without_request_id(answers[0]) == without_request_id(answers[1])
    assert await everything_of(databases, other) == before


async def test_lists_hold_the_own_tenant_only(
    databases: Databases, app: FastAPI, portal: Portal, world: World, other: World
) -> None:
    theirs = {str(value) for value in (*other.ids.values(), *other.users.values())}
    for route in routes.every(app.openapi()):
        if route.writes or routes.ACTIONS[str(route)] is None:
            continue
        path = route.path.format(**world.ids, user_id=world.owner, version=1)
        answer = await portal.call("GET", path, user=world.owner)
        assert not [value for value in theirs if value in answer.text], str(route)
    async with databases.own("control") as conn:
        await conn.execute("select 1")


async def test_a_user_of_two_tenants_keeps_them_apart(
    databases: Databases, portal: Portal, world: World, other: World
) -> None:
    both = await worlds.user(databases)
    await worlds.member(databases, world.ids["workspace_id"], both, "owner")
    await worlds.member(databases, other.ids["workspace_id"], both, "viewer")
    mine = await portal.call("PATCH", f"/bases/{world.ids['base_id']}", user=both, json={"name": "Mine"})
    theirs = await portal.call("PATCH", f"/bases/{other.ids['base_id']}", user=both, json={"name": "Mine"})
    assert (mine.status_code, theirs.status_code) == (200, 403)
    listed = await portal.call("GET", "/tenants", user=both)
    assert {row["id"] for row in listed.json()["tenants"]} == {world.tenant, other.tenant}
    token = await portal.call(
        "POST",
        f"/tenants/{world.ids['tenant_id']}/tokens",
        user=both,
        json={"scopes": ["records:read"], "base_id": other.ids["base_id"]},
    )
    assert token.status_code == 422
