"""Tokens: shown once, bounded by their maker, and known to the gateway by their hash."""

from datetime import UTC, datetime, timedelta

from core import token
from core.ids import new
from tests.api import worlds
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import Databases


async def authenticated(databases: Databases, secret: str, base_id: str) -> dict[str, object] | None:
    async with databases.connect("data_api", "control") as conn:
        row = await conn.fetchrow("select * from gateway.authenticate($1, $2)", token.digest(secret), base_id)
    return dict(row) if row else None


async def test_a_token_works_until_it_is_revoked(databases: Databases, portal: Portal, world: World) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    body = {
        "name": "CI",
        "scopes": ["records:read", "records:write"],
        "base_id": world.ids["base_id"],
        "workspace_id": world.ids["workspace_id"],
        "expires_at": until.isoformat(),
    }
    made = await portal.call("POST", f"/tenants/{world.tenant}/tokens", user=world.users["admin"], json=body)
    shown = made.json()
    secret = shown["token"]
    assert token.is_well_formed(secret)
    assert shown["hint"] == secret[:8]
    found = await authenticated(databases, secret, world.ids["base_id"])
    assert found is not None
    assert (found["role"], found["created_by_user"]) == ("editor", world.users["admin"])
    for path in (f"/tenants/{world.tenant}/tokens", made.headers["location"]):
        listed = await portal.call("GET", path, user=world.users["viewer"])
        assert shown["hint"] in listed.text
        assert secret not in listed.text
        assert token.digest(secret) not in listed.text
    for _ in range(2):
        assert (await portal.call("DELETE", made.headers["location"])).status_code == 204
    assert await authenticated(databases, secret, world.ids["base_id"]) is None
    ended = (await portal.call("GET", made.headers["location"])).json()["revoked_at"]
    assert ended is not None


async def test_a_token_falls_with_its_makers_role(databases: Databases, portal: Portal, world: World) -> None:
    maker = world.users["admin"]
    made = await portal.call(
        "POST", f"/tenants/{world.tenant}/tokens", user=maker, json={"scopes": ["records:write"]}
    )
    secret = made.json()["token"]
    members = f"/workspaces/{world.ids['workspace_id']}/members/{maker}"
    await portal.call("PATCH", members, json={"role": "viewer"})
    found = await authenticated(databases, secret, world.ids["base_id"])
    assert found is not None
    assert found["role"] == "viewer"
    await portal.call("DELETE", members)
    gone = await authenticated(databases, secret, world.ids["base_id"])
    assert gone is None or gone["role"] is None


async def test_a_base_of_another_workspace_is_refused(portal: Portal, world: World) -> None:
    second = await portal.call("POST", f"/tenants/{world.tenant}/workspaces", json={"name": "Second"})
    body = {
        "scopes": ["records:read"],
        "workspace_id": second.json()["id"],
        "base_id": world.ids["base_id"],
    }
    answer = await portal.call("POST", f"/tenants/{world.tenant}/tokens", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "other_workspace")


async def test_tokens_of_other_workspaces_are_not_seen(
    databases: Databases, portal: Portal, world: World
) -> None:
    second = (
        await portal.call("POST", f"/tenants/{world.tenant}/workspaces", json={"name": "Second"})
    ).json()["id"]
    made = await portal.call(
        "POST",
        f"/tenants/{world.tenant}/tokens",
        json={"scopes": ["records:read"], "workspace_id": second},
    )
    member = await worlds.user(databases)
    await worlds.member(databases, second, member, "admin")
    first = (await portal.call("GET", f"/tenants/{world.tenant}/tokens", user=world.owner)).json()
    assert [row["id"] for row in first["tokens"]] == [world.ids["token_id"]]
    assert (await portal.call("GET", made.headers["location"], user=world.owner)).status_code == 404
    assert (await portal.call("DELETE", made.headers["location"], user=world.owner)).status_code == 404
    theirs = (await portal.call("GET", f"/tenants/{world.tenant}/tokens", user=member)).json()
    assert {row["id"] for row in theirs["tokens"]} == {world.ids["token_id"], made.json()["id"]}
    assert (await portal.call("GET", f"/tokens/{new()}", user=member)).status_code == 404
