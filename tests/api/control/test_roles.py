"""Who may do what, over every route of the API."""

import json
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI

from core.access import Role
from core.ids import new
from tests.api import worlds
from tests.api.control import routes
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import Databases


def test_every_route_has_its_action(app: FastAPI) -> None:
    assert {str(route) for route in routes.every(app.openapi())} == set(routes.ACTIONS)


@pytest.mark.parametrize("role", Role)
async def test_each_role_may_what_the_table_says(
    databases: Databases, app: FastAPI, portal: Portal, role: Role
) -> None:
    wrong = []
    world = await worlds.make(databases)
    for route in routes.every(app.openapi()):
        user = world.users[role.label]
        if route.writes:
            world = await worlds.make(databases)
            user = world.users[role.label]
        own = {"user_id": user, "version": 1}
        if "members" in route.path:
            own["user_id"] = await worlds.user(databases)
            await worlds.member(databases, world.ids["workspace_id"], own["user_id"], "viewer")
        body = routes.body(route)
        if route.path.endswith("/members") and body:
            body["user_id"] = await worlds.user(databases)
        answer = await portal.call(route.method, route.path.format(**world.ids, **own), user=user, json=body)
        allowed = routes.may(route, role)
        fine = answer.status_code in ((200, 201, 202, 204) if allowed else (403,))
        if route.path.endswith("{version}"):
            fine = answer.status_code == 404
        if not fine:
            wrong.append(f"{route}: {answer.status_code} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)


async def test_the_portal_itself_may_do_all(databases: Databases, app: FastAPI, portal: Portal) -> None:
    wrong = []
    for route in routes.every(app.openapi()):
        world = await worlds.make(databases)
        body = routes.body(route)
        if route.path.endswith("/members") and body:
            body["user_id"] = await worlds.user(databases)
        path = route.path.format(**world.ids, user_id=world.users["viewer"], version=1)
        answer = await portal.call(route.method, path, json=body)
        # No such version; and nothing to provision again.
        expected = {"{version}": 404, "/provision": 409}
        fine = next((s for end, s in expected.items() if route.path.endswith(end)), None)
        if answer.status_code != fine and (fine or answer.status_code >= 300):
            wrong.append(f"{route}: {answer.status_code} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)


async def test_nobody_else_is_answered(app: FastAPI, portal: Portal, world: World) -> None:
    for route in routes.every(app.openapi()):
        path = route.path.format(**world.ids, user_id=world.owner, version=1)
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic cG9ydGFs"}):
            answer = await portal.http.request(route.method, path, headers=headers, content=b"{not json")
            assert answer.status_code == 401, f"{route}: {answer.text}"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_unknown_or_disabled_user_may_nothing(
    databases: Databases, app: FastAPI, portal: Portal, world: World
) -> None:
    async with databases.own("control") as conn:
        await conn.execute("update control.users set status = 'disabled' where id = $1", world.users["admin"])
    for user in (new(), world.users["admin"]):
        for route in routes.every(app.openapi()):
            path = route.path.format(**world.ids, user_id=world.owner, version=1)
            answer = await portal.call(route.method, path, user=user, json=routes.body(route))
            assert answer.status_code == 403, f"{route}: {answer.text}"


@pytest.mark.parametrize(
    ("actor", "change", "status"),
    [
        ("admin", ("POST", "owner"), 403),
        ("admin", ("POST", "admin"), 201),
        ("owner", ("POST", "owner"), 201),
        ("admin", ("PATCH", "viewer", "owner"), 403),
        ("admin", ("PATCH", "owner", "viewer"), 403),
        ("owner", ("PATCH", "viewer", "owner"), 200),
        ("admin", ("PATCH", "editor", "admin"), 200),
        ("admin", ("DELETE", "owner"), 403),
        ("admin", ("DELETE", "editor"), 204),
        ("editor", ("DELETE", "editor"), 204),
        ("viewer", ("DELETE", "editor"), 403),
    ],
)
async def test_members_below_owner_are_the_admins(
    databases: Databases, portal: Portal, world: World, actor: str, change: tuple[str, ...], status: int
) -> None:
    members = f"/workspaces/{world.ids['workspace_id']}/members"
    method, role, *new_role = change
    if method == "POST":
        user = await worlds.user(databases)
        answer = await portal.call(
            "POST", members, user=world.users[actor], json={"user_id": user, "role": role}
        )
    else:
        body = {"role": new_role[0]} if new_role else None
        path = f"{members}/{world.users[role]}"
        answer = await portal.call(method, path, user=world.users[actor], json=body)
    assert answer.status_code == status, answer.text


async def test_a_role_counts_in_its_own_workspace_only(
    databases: Databases, portal: Portal, world: World
) -> None:
    made = await portal.call(
        "POST", f"/tenants/{world.ids['tenant_id']}/workspaces", user=world.owner, json={"name": "Second"}
    )
    second = made.json()["id"]
    admin = world.users["admin"]
    there = await portal.call("GET", f"/workspaces/{second}", user=admin)
    assert there.status_code == 404
    listed = await portal.call("GET", f"/tenants/{world.ids['tenant_id']}/workspaces", user=admin)
    assert [row["id"] for row in listed.json()["workspaces"]] == [world.ids["workspace_id"]]
    token = await portal.call(
        "POST",
        f"/tenants/{world.ids['tenant_id']}/tokens",
        user=admin,
        json={"scopes": ["records:read"], "workspace_id": second},
    )
    assert token.status_code == 422
    assert token.json()["errors"][0]["pointer"] == "/workspace_id"
    hidden = (await portal.call("POST", f"/workspaces/{second}/bases", json={"name": "H"})).json()["id"]
    spec = {"spec": routes.SPEC}
    asked = (await portal.call("PUT", f"/bases/{hidden}/schema", json=spec)).json()["id"]
    listed = await portal.call("GET", f"/tenants/{world.ids['tenant_id']}/operations", user=admin)
    assert [row["id"] for row in listed.json()["operations"]] == [world.ids["operation_id"]]
    assert (await portal.call("GET", f"/operations/{asked}", user=admin)).status_code == 404
    log = {
        "id": new(),
        "occurred_at": datetime.now(UTC).isoformat(),
        "tenant_id": world.tenant,
        "base_id": hidden,
        "route": "/",
        "method": "GET",
        "status": 200,
        "latency_ms": 1.0,
        "bytes": 1,
    }
    async with databases.connect("data_api", "activity") as conn:
        await conn.execute("select activity.add_access_logs($1::jsonb)", json.dumps([log]))
    logs = f"/tenants/{world.tenant}/access-logs"
    for user, is_seen in ((admin, False), (None, True)):
        answer = await portal.call("GET", logs, user=user, params={"base_id": hidden})
        assert (log["id"] in {row["id"] for row in answer.json()["requests"]}) is is_seen
    await worlds.member(databases, second, admin, "viewer")
    base = await portal.call("POST", f"/workspaces/{second}/bases", user=admin, json={"name": "B"})
    assert base.status_code == 403
    token = await portal.call(
        "POST",
        f"/tenants/{world.ids['tenant_id']}/tokens",
        user=admin,
        json={"scopes": ["records:read"], "workspace_id": second},
    )
    assert token.status_code == 403
