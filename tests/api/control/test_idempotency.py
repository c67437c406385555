"""A call that is repeated under its key: done once, and answered as the first time."""

import asyncio

import pytest
from fastapi import FastAPI

from core.ids import new
from tests.api import worlds
from tests.api.control import routes
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows


async def test_every_mutation_replays_itself(databases: Databases, app: FastAPI, portal: Portal) -> None:
    wrong = []
    for route in routes.every(app.openapi()):
        if not route.writes or route.path.endswith("/provision"):
            continue
        world = await worlds.make(databases)
        path = route.path.format(**world.ids, user_id=world.users["viewer"])
        body = routes.body(route)
        if route.path.endswith("/members") and body:
            body["user_id"] = await worlds.user(databases)
        key = f"key {new()}"
        first = await portal.call(route.method, path, json=body, key=key)
        again = await portal.call(route.method, path, json=body, key=key)
        other = await portal.call(route.method, path + "?", json=[body], key=key)
        same = (first.status_code, first.content, first.headers.get("location")) == (
            again.status_code,
            again.content,
            again.headers.get("location"),
        )
        if first.status_code >= 300 or not same:
            wrong.append(f"{route}: {first.status_code} {first.text[:200]} / {again.text[:200]}")
        if "idempotency-hit" in first.headers or again.headers.get("idempotency-hit") != "true":
            wrong.append(f"{route}: no hit")
        if other.status_code != 422:
            wrong.append(f"{route}: another body: {other.status_code} {other.text[:200]}")
        done = await rows(
            databases,
            "control",
            "select id from control.outbox where payload ->> 'operation_id' = $1",
            again.headers["x-request-id"],
        )
        if done:
            wrong.append(f"{route}: the replay did something")
    assert not wrong, "\n".join(wrong)


async def test_a_key_is_its_callers_own(portal: Portal, world: World) -> None:
    path = f"/workspaces/{world.ids['workspace_id']}/bases"
    made = set()
    for user in (None, world.owner, world.users["admin"]):
        answer = await portal.call("POST", path, user=user, json={"name": "B"}, key="the same")
        assert "idempotency-hit" not in answer.headers
        made.add(answer.json()["id"])
    assert len(made) == 3


async def test_another_request_under_the_key_is_refused(portal: Portal, world: World) -> None:
    path = f"/workspaces/{world.ids['workspace_id']}/bases"
    key = new()
    await portal.call("POST", path, json={"name": "One"}, key=key)
    for answer in (
        await portal.call("POST", path, json={"name": "Two"}, key=key),
        await portal.call("PATCH", f"/bases/{world.ids['base_id']}", json={"name": "One"}, key=key),
    ):
        assert answer.status_code == 422
        assert answer.json()["code"] == "idempotency_mismatch"
    listed = (await portal.call("GET", path)).json()["bases"]
    assert sorted(row["name"] for row in listed) == ["Base", "One"]


async def test_many_at_once_under_one_key_do_it_once(portal: Portal, world: World) -> None:
    path = f"/wallets/{world.ids['wallet_id']}/topups"
    key = new()
    answers = await asyncio.gather(
        *(portal.call("POST", path, json={"amount_cents": 700}, key=key) for _ in range(12))
    )
    codes = [answer.status_code for answer in answers]
    assert set(codes) <= {202, 409}
    assert 202 in codes
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {
        "idempotency_in_flight"
    }
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
    final = await portal.call("POST", path, json={"amount_cents": 700}, key=key)
    assert final.headers["idempotency-hit"] == "true"
    listed = await portal.call("GET", f"/tenants/{world.tenant}/operations?state=queued")
    assert len(listed.json()["operations"]) == 2  # this one, and the world's own


async def test_a_refused_call_leaves_its_key_free(portal: Portal, world: World) -> None:
    path = f"/workspaces/{world.ids['workspace_id']}/members"
    key = new()
    body = {"user_id": world.owner, "role": "viewer"}
    refused = await portal.call("POST", path, json=body, key=key)
    assert refused.status_code == 409
    removed = await portal.call("DELETE", f"{path}/{world.users['viewer']}")
    assert removed.status_code == 204
    body = {"user_id": world.users["viewer"], "role": "viewer"}
    assert (await portal.call("POST", path, json=body, key=key)).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_has_its_bounds(portal: Portal, world: World, key: str) -> None:
    answer = await portal.call(
        "POST", f"/workspaces/{world.ids['workspace_id']}/bases", json={"name": "B"}, key=key
    )
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "Idempotency-Key"


async def test_a_secret_is_replayed_and_stored_nowhere(
    databases: Databases, portal: Portal, world: World
) -> None:
    key = new()
    path = f"/tenants/{world.tenant}/tokens"
    first = await portal.call("POST", path, json={"scopes": ["records:read"]}, key=key)
    again = await portal.call("POST", path, json={"scopes": ["records:read"]}, key=key)
    assert again.json() == first.json()
    hook = await portal.call(
        "POST",
        f"/tenants/{world.tenant}/channels",
        json={"channel": "webhook", "to": "https://example.com/hook"},
        key=new(),
    )
    secrets = [first.json()["token"], hook.json()["secret"]]
    kept = [
        *await rows(databases, "control", "select * from control.idempotency"),
        *await rows(databases, "control", "select * from control.outbox"),
        *await rows(databases, "control", "select * from control.api_tokens"),
        *await rows(databases, "alarms", "select * from alarms.channels"),
    ]
    for secret in secrets:
        assert secret not in str(kept)


async def test_a_call_that_failed_after_the_alarms_database_finds_its_own_work(
    databases: Databases, portal: Portal, world: World
) -> None:
    key = new()
    path = f"/tenants/{world.tenant}/channels"
    body = {"channel": "webhook", "to": "https://example.com/hook"}
    first = await portal.call("POST", path, json=body, key=key)
    async with databases.own("control") as conn:
        # As if the commit there had failed.
        await conn.execute("delete from control.idempotency where key = $1", key)
    again = await portal.call("POST", path, json=body, key=key)
    assert again.status_code == 201
    assert again.json()["id"] == first.json()["id"]
    twice = await portal.call("POST", path, json=body, key=new())
    assert (twice.status_code, twice.json()["code"]) == (409, "channel_exists")
