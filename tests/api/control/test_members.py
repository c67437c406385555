"""A workspace keeps an owner, whatever is asked of it and by how many at once."""

import asyncio

import pytest

from tests.api import worlds
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows


async def owners(databases: Databases, world: World) -> int:
    found = await rows(
        databases,
        "control",
        "select m.id from control.memberships m join control.users u on u.id = m.user_id"
        " where workspace_id = $1 and role = 'owner' and u.status = 'active'",
        world.ids["workspace_id"],
    )
    return len(found)


@pytest.mark.parametrize("by_whom", ["portal", "owner"])
async def test_the_last_owner_cannot_go(
    databases: Databases, portal: Portal, world: World, by_whom: str
) -> None:
    user = world.owner if by_whom == "owner" else None
    own = f"/workspaces/{world.ids['workspace_id']}/members/{world.owner}"
    for answer in (
        await portal.call("DELETE", own, user=user),
        await portal.call("PATCH", own, user=user, json={"role": "admin"}),
        await portal.call("PATCH", f"/users/{world.owner}", json={"status": "disabled"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")
    assert (await portal.call("PATCH", own, user=user, json={"role": "owner"})).status_code == 200
    assert await owners(databases, world) == 1


async def test_a_disabled_owner_does_not_count(databases: Databases, portal: Portal, world: World) -> None:
    members = f"/workspaces/{world.ids['workspace_id']}/members"
    second = world.users["admin"]
    await portal.call("PATCH", f"{members}/{second}", json={"role": "owner"})
    assert (await portal.call("PATCH", f"/users/{second}", json={"status": "disabled"})).status_code == 200
    assert (await portal.call("DELETE", f"{members}/{world.owner}")).json()["code"] == "last_owner"


@pytest.mark.parametrize("how", ["remove", "demote", "disable", "mixed"])
async def test_two_owners_who_go_at_once_leave_one(databases: Databases, portal: Portal, how: str) -> None:
    for _ in range(8):
        world = await worlds.make(databases)
        members = f"/workspaces/{world.ids['workspace_id']}/members"
        second = world.users["admin"]
        await portal.call("PATCH", f"{members}/{second}", json={"role": "owner"})
        calls = {
            "remove": lambda user, members=members: portal.call("DELETE", f"{members}/{user}"),
            "demote": lambda user, members=members: portal.call(
                "PATCH", f"{members}/{user}", json={"role": "viewer"}
            ),
            "disable": lambda user: portal.call("PATCH", f"/users/{user}", json={"status": "disabled"}),
        }
        pair = (calls["remove"], calls["disable"]) if how == "mixed" else (calls[how], calls[how])
        answers = await asyncio.gather(pair[0](world.owner), pair[1](second))
        assert sorted(answer.status_code < 300 for answer in answers) == [False, True]
        assert await owners(databases, world) == 1


async def test_a_member_is_added_once(databases: Databases, portal: Portal, world: World) -> None:
    members = f"/workspaces/{world.ids['workspace_id']}/members"
    user = await worlds.user(databases)
    answers = await asyncio.gather(
        *(portal.call("POST", members, json={"user_id": user, "role": "editor"}) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    unknown = await portal.call("POST", members, json={"user_id": world.tenant, "role": "editor"})
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["pointer"] == "/user_id"


async def test_members_are_paged(portal: Portal, world: World) -> None:
    path = f"/workspaces/{world.ids['workspace_id']}/members"
    seen = []
    cursor = ""
    for _ in range(3):
        page = (await portal.call("GET", f"{path}?limit=2{cursor}", user=world.owner)).json()
        seen += [row["user_id"] for row in page["members"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(world.users.values())
    foreign = await portal.call("GET", f"/workspaces/{world.ids['workspace_id']}/bases?{cursor[1:]}")
    assert (foreign.status_code, foreign.json()["code"]) == (400, "invalid_cursor")


async def test_people_see_whom_they_work_with(
    databases: Databases, portal: Portal, world: World, other: World
) -> None:
    assert (await portal.call("GET", f"/users/{world.owner}", user=world.users["viewer"])).status_code == 200
    assert (await portal.call("GET", f"/users/{other.owner}", user=world.owner)).status_code == 404
    changed = await portal.call(
        "PATCH", f"/users/{world.users['viewer']}", user=world.owner, json={"name": "X"}
    )
    assert changed.status_code == 404
    promoted = await portal.call(
        "PATCH", f"/users/{world.owner}", user=world.owner, json={"mfa_enabled": True}
    )
    assert promoted.status_code == 403


async def test_an_address_is_known_once_in_any_case(portal: Portal, world: World) -> None:
    email = f"{world.tenant}@Example.com"
    made = await portal.call("POST", "/users", json={"email": email, "name": "U"})
    again = await portal.call("POST", "/users", json={"email": email.upper(), "name": "V"})
    assert (again.status_code, again.json()["code"]) == (409, "email_taken")
    assert again.json()["user_id"] == made.json()["id"]
    found = (await portal.call("GET", "/users", params={"email": email.lower()})).json()["users"]
    assert [row["id"] for row in found] == [made.json()["id"]]
