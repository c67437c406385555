"""Tenants, workspaces, bases and what they come from."""

import asyncio
import json

from core.ids import new
from tests.api import worlds
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import REGION, Databases
from tests.seeds import rows


async def test_a_tenant_is_a_row_an_operation_and_an_event_in_one(
    databases: Databases, portal: Portal
) -> None:
    user = await worlds.user(databases)
    slug = f"t-{new()}"
    answer = await portal.call(
        "POST", "/tenants", user=user, json={"slug": slug, "name": "Tenant"}, key=new()
    )
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/operations/{body['id']}" == body["links"]["self"]
    assert body["id"] == answer.headers["x-request-id"]
    assert (body["kind"], body["state"], body["percent"]) == ("tenant_provision", "queued", 0)
    tenant = body["tenant_id"]
    operation = (
        await rows(databases, "control", "select * from control.operations where id = $1", body["id"])
    )[0]
    assert operation["input_json"] == {
        "slug": slug,
        "name": "Tenant",
        "region": REGION,
        "plan_code": "free",
        "owner_email": f"{user}@example.com",
        "owner_name": "U",
    }
    event = (
        await rows(
            databases,
            "control",
            "select payload from control.outbox where payload ->> 'operation_id' = $1",
            body["id"],
        )
    )[0]["payload"]
    assert event["action"] == "TENANT_PROVISION_REQUEST"
    assert event["tenant_id"] == tenant
    assert event["actor_user_id"] == user
    # Whoever asked follows it, though no member of anything yet.
    assert (await portal.call("GET", answer.headers["location"], user=user)).status_code == 200
    assert (await portal.call("GET", f"/tenants/{tenant}")).json()["status"] == "provisioning"
    early = await portal.call("POST", f"/tenants/{tenant}/workspaces", json={"name": "W"})
    assert (early.status_code, early.json()["code"]) == (409, "tenant_not_active")


async def test_a_slug_is_had_once(portal: Portal) -> None:
    slug = f"t-{new()}"
    answers = await asyncio.gather(
        *(portal.call("POST", "/tenants", json={"slug": slug, "name": "T"}) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"slug_taken"}


async def test_a_failed_tenant_is_provisioned_again(
    databases: Databases, portal: Portal, world: World
) -> None:
    owner = {"email": "a@example.com", "name": "A"}
    first = await portal.call("POST", "/tenants", json={"slug": f"t-{new()}", "name": "T", "owner": owner})
    tenant = first.json()["tenant_id"]
    async with databases.own("control") as conn:
        await conn.execute("update control.tenants set status = 'failed' where id = $1", tenant)
        await conn.execute("update control.operations set state = 'failed' where id = $1", first.json()["id"])
    again = await portal.call("POST", f"/tenants/{tenant}/provision")
    assert again.status_code == 202
    found = await rows(
        databases, "control", "select input_json from control.operations where tenant_id = $1", tenant
    )
    assert found[0] == found[1]
    assert (await portal.call("POST", f"/tenants/{world.tenant}/provision")).status_code == 409


async def test_a_tenant_whose_provisioning_ended_unheard_is_provisioned_again(
    databases: Databases, portal: Portal
) -> None:
    first = await portal.call("POST", "/tenants", json={"slug": f"t-{new()}", "name": "T"})
    again = f"/tenants/{first.json()['tenant_id']}/provision"
    for state in ("queued", "running"):
        async with databases.own("control") as conn:
            await conn.execute(
                "update control.operations set state = $2 where id = $1", first.json()["id"], state
            )
        answer = await portal.call("POST", again)
        assert (answer.status_code, answer.json()["code"]) == (409, "tenant_not_failed")
    async with databases.own("control") as conn:
        await conn.execute(
            "update control.operations set state = 'canceled' where id = $1", first.json()["id"]
        )
    assert (await portal.call("POST", again)).status_code == 202


async def test_what_a_tenant_that_is_not_active_may(databases: Databases, portal: Portal) -> None:
    world = await worlds.make(databases, status="suspended")
    owner = world.owner
    base = await portal.call("PATCH", f"/bases/{world.ids['base_id']}", user=owner, json={"name": "N"})
    assert (base.status_code, base.json()["code"]) == (409, "tenant_not_active")
    assert (await portal.call("GET", f"/bases/{world.ids['base_id']}", user=owner)).status_code == 200
    paid = await portal.call(
        "POST", f"/wallets/{world.ids['wallet_id']}/topups", user=owner, json={"amount_cents": 5}
    )
    assert paid.status_code == 202
    revoked = await portal.call("DELETE", f"/tokens/{world.ids['token_id']}", user=owner)
    assert revoked.status_code == 204


async def test_a_workspace_with_bases_in_use_is_not_archived(portal: Portal, world: World) -> None:
    workspace = f"/workspaces/{world.ids['workspace_id']}"
    refused = await portal.call("PATCH", workspace, user=world.owner, json={"status": "archived"})
    assert (refused.status_code, refused.json()["code"]) == (409, "workspace_not_empty")
    assert (
        await portal.call("PATCH", workspace, user=world.users["admin"], json={"name": "N"})
    ).status_code == 200
    by_admin = await portal.call("PATCH", workspace, user=world.users["admin"], json={"status": "archived"})
    assert by_admin.status_code == 403
    await portal.call("PATCH", f"/bases/{world.ids['base_id']}", json={"status": "archived"})
    assert (await portal.call("PATCH", workspace, json={"status": "archived"})).status_code == 200
    late = await portal.call("POST", f"{workspace}/bases", json={"name": "B"})
    assert (late.status_code, late.json()["code"]) == (409, "workspace_archived")


async def test_archiving_and_a_new_base_exclude_each_other(databases: Databases, portal: Portal) -> None:
    for _ in range(8):
        world = await worlds.make(databases)
        workspace = f"/workspaces/{world.ids['workspace_id']}"
        await portal.call("PATCH", f"/bases/{world.ids['base_id']}", json={"status": "archived"})
        archived, made = await asyncio.gather(
            portal.call("PATCH", workspace, json={"status": "archived"}),
            portal.call("POST", f"{workspace}/bases", json={"name": "B"}),
        )
        assert sorted((archived.status_code, made.status_code)) in ([200, 409], [201, 409])


async def test_the_gateway_hears_of_an_archived_base_and_a_revoked_token(
    databases: Databases, portal: Portal, world: World
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with databases.own("control") as conn:
        await conn.add_listener("gateway", lambda *event: heard.put_nowait(event[3]))
        await portal.call("PATCH", f"/bases/{world.ids['base_id']}", json={"status": "archived"})
        await portal.call("DELETE", f"/tokens/{world.ids['token_id']}")
        async with asyncio.timeout(5):
            assert {await heard.get(), await heard.get()} == {"bases", "tokens"}


async def test_every_change_is_told_and_no_secret_is(
    databases: Databases, portal: Portal, world: World
) -> None:
    answer = await portal.call(
        "POST", f"/tenants/{world.tenant}/tokens", user=world.owner, json={"scopes": ["records:write"]}
    )
    told = await rows(
        databases,
        "control",
        "select * from control.outbox where payload ->> 'operation_id' = $1",
        answer.headers["x-request-id"],
    )
    assert len(told) == 1
    payload = told[0]["payload"]
    assert told[0]["destination"] == "activity"
    assert payload["action"] == "TOKEN_CREATE"
    assert payload["resource_id"] == answer.json()["id"]
    assert answer.json()["token"] not in json.dumps(payload)
    assert set(payload) == {
        "tenant_id", "workspace_id", "base_id", "actor_user_id", "resource_type", "resource_id", "action",
        "operation_id", "diff_json",
    }  # fmt: skip
