"""Schemas: planned in words, asked for in one operation, and never destructive by accident."""

import json

from core.ids import new, stream
from core.schema.diff import diff
from core.schema.spec import BaseSpec, ddl_hash, read_spec
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows

SPEC = {
    "tables": [
        {"name": "Tasks", "fields": [{"name": "Title", "type": "text"}, {"name": "Done", "type": "boolean"}]}
    ]
}


async def applied(databases: Databases, world: World, spec: dict[str, object], version: int = 1) -> BaseSpec:
    """Write a version as the workflow does."""
    plan = diff(BaseSpec(), read_spec(spec), stream())
    async with databases.own("control") as conn:
        await conn.execute(
            "insert into control.schema_registry"
            " (id, tenant_id, base_id, version, ddl_hash, spec_json, plan_json, state, operation_id, applied_at)"
            " values ($1, $2, $3, $4, $5, $6, '{}', 'applied', $1, now())",
            new(),
            world.tenant,
            world.ids["base_id"],
            version,
            ddl_hash(plan.spec),
            plan.spec.model_dump_json(),
        )
    return plan.spec


async def test_a_dry_run_says_the_steps_and_does_nothing(
    databases: Databases, portal: Portal, world: World
) -> None:
    path = f"/bases/{world.ids['base_id']}/schema"
    answer = await portal.call("PUT", path, user=world.users["admin"], json={"spec": SPEC, "dry_run": True})
    plan = answer.json()
    assert answer.status_code == 200
    assert plan["parent_version"] == 0
    assert [step["kind"] for step in plan["steps"]] == ["create_table"]
    assert "Tasks" in plan["steps"][0]["label"]
    assert plan["confirmations"] == []
    assert "location" not in answer.headers
    assert not await rows(
        databases, "control", "select 1 from control.operations where base_id = $1", world.ids["base_id"]
    )


async def test_a_change_is_asked_for_once_and_can_be_followed(
    databases: Databases, portal: Portal, world: World
) -> None:
    path = f"/bases/{world.ids['base_id']}/schema"
    answer = await portal.call("PUT", path, user=world.users["admin"], json={"spec": SPEC}, key=new())
    assert answer.status_code == 202
    body = answer.json()
    assert (body["kind"], body["base_id"], body["state"]) == ("schema_apply", world.ids["base_id"], "queued")
    operation = (
        await rows(databases, "control", "select * from control.operations where id = $1", body["id"])
    )[0]
    assert set(operation["input_json"]) == {"spec", "confirm", "parent_version"}
    assert read_spec(operation["input_json"]["spec"]) == read_spec(SPEC)
    assert operation["cancelable"]
    assert "spec" not in json.dumps(body["links"])
    listed = await portal.call(
        "GET", f"/tenants/{world.tenant}/operations?kind=schema_apply", user=world.users["viewer"]
    )
    assert [row["id"] for row in listed.json()["operations"]] == [body["id"]]


async def test_what_loses_something_is_named_and_waits_for_its_confirmation(
    databases: Databases, portal: Portal, world: World
) -> None:
    spec = await applied(databases, world, SPEC)
    path = f"/bases/{world.ids['base_id']}/schema"
    shown = (await portal.call("GET", path, user=world.users["viewer"])).json()
    assert (shown["version"], read_spec(shown["spec"])) == (1, spec)
    less = json.loads(json.dumps(shown["spec"]))
    dropped = less["tables"][0]["fields"].pop()
    dry = (await portal.call("PUT", path, json={"spec": less, "dry_run": True})).json()
    assert [(step["kind"], step["destructive"]) for step in dry["steps"]] == [("drop_field", True)]
    assert dry["confirmations"] == [f"drop_field:{dropped['id']}"]
    refused = await portal.call("PUT", path, json={"spec": less})
    assert (refused.status_code, refused.json()["code"]) == (409, "confirmation_required")
    assert [error["code"] for error in refused.json()["errors"]] == dry["confirmations"]
    assert not await rows(
        databases, "control", "select 1 from control.operations where base_id = $1", world.ids["base_id"]
    )
    granted = await portal.call("PUT", path, json={"spec": less, "confirm": dry["confirmations"]})
    assert granted.status_code == 202


async def test_a_change_to_an_older_version_is_refused(
    databases: Databases, portal: Portal, world: World
) -> None:
    await applied(databases, world, SPEC, version=3)
    path = f"/bases/{world.ids['base_id']}/schema"
    stale = await portal.call("PUT", path, json={"spec": SPEC, "parent_version": 2})
    assert (stale.status_code, stale.json()["code"]) == (409, "stale_parent")
    assert (await portal.call("PUT", path, json={"spec": SPEC, "parent_version": 3})).status_code == 202


async def test_versions_stay(databases: Databases, portal: Portal, world: World) -> None:
    for version in (1, 2, 3):
        await applied(databases, world, SPEC, version=version)
    path = f"/bases/{world.ids['base_id']}/schema/versions"
    first = (await portal.call("GET", f"{path}?limit=2")).json()
    rest = (await portal.call("GET", f"{path}?limit=2&cursor={first['next_cursor']}")).json()
    assert [row["version"] for row in first["versions"] + rest["versions"]] == [3, 2, 1]
    assert rest["next_cursor"] is None
    one = (await portal.call("GET", f"{path}/2")).json()
    assert one["spec"]["tables"][0]["name"] == "Tasks"
    assert (await portal.call("GET", f"{path}/9")).status_code == 404


async def test_an_archived_base_is_not_changed(portal: Portal, world: World) -> None:
    await portal.call("PATCH", f"/bases/{world.ids['base_id']}", json={"status": "archived"})
    answer = await portal.call("PUT", f"/bases/{world.ids['base_id']}/schema", json={"spec": SPEC})
    assert (answer.status_code, answer.json()["code"]) == (409, "base_archived")


async def test_a_new_name_or_status_is_brought_to_the_tenants_database_by_an_operation(
    databases: Databases, portal: Portal, world: World
) -> None:
    path = f"/bases/{world.ids['base_id']}"
    answer = await portal.call("PATCH", path, user=world.users["admin"], json={"name": "Wares"}, key=new())
    assert (answer.status_code, answer.json()["name"]) == (200, "Wares")
    await portal.call("PATCH", path, json={"status": "archived"})
    asked = await rows(
        databases, "control",
        "select kind, subject_id, tenant_id, input_json, state, cancelable from control.operations where base_id = $1",
        world.ids["base_id"],
    )  # fmt: skip
    one = {
        "kind": "schema_apply",
        "subject_id": world.ids["base_id"],
        "tenant_id": world.tenant,
        "input_json": {},
        "state": "queued",
        "cancelable": False,
    }
    assert asked == [one, one]
