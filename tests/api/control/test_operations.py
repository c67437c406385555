"""Long work: shown from our own row, stopped where it can be, with Temporal or without."""

from fastapi import FastAPI
from temporalio.client import Client

from api.control.app import create_app
from core.ids import Ulid, new
from planebase.temporal import Server
from tests.api.control.conftest import PORTAL_TOKEN, Portal, client, settings
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows


async def operation(databases: Databases, world: World, **columns: object) -> Ulid:
    made = new()
    values = {
        "id": made,
        "kind": "schema_apply",
        "tenant_id": world.tenant,
        "base_id": world.ids["base_id"],
        "subject_id": new(),
        "requested_by": "service",
        "cancelable": True,
        **columns,
    }
    async with databases.own("control") as conn:
        await conn.execute(
            f"insert into control.operations ({', '.join(values)})"
            f" values ({', '.join(f'${n}' for n in range(1, len(values) + 1))})",
            *values.values(),
        )
    return made


async def test_what_is_shown(databases: Databases, portal: Portal, world: World) -> None:
    run = "5f0c"
    made = await operation(
        databases,
        world,
        state="failed",
        step="add field",
        percent=40,
        workflow_id="schema/a/b",
        run_id=run,
        error_json='{"code": "conflict", "detail": "no", "errors": []}',
        input_json='{"spec": "of nobody\'s business"}',
    )
    answer = await portal.call("GET", f"/operations/{made}", user=world.users["viewer"])
    shown = answer.json()
    assert (shown["state"], shown["step"], shown["percent"]) == ("failed", "add field", 40)
    assert shown["error"] == {"code": "conflict", "detail": "no", "errors": []}
    assert shown["links"] == {
        "self": f"/operations/{made}",
        "temporal_ui": f"http://ui.test/namespaces/default/workflows/schema%2Fa%2Fb/{run}/history",
    }
    assert "business" not in answer.text


async def test_nobody_has_begun_it(databases: Databases, portal: Portal, world: World) -> None:
    made = await operation(databases, world)
    assert (
        await portal.call("POST", f"/operations/{made}/cancel", user=world.users["viewer"])
    ).status_code == 403
    answer = await portal.call("POST", f"/operations/{made}/cancel", user=world.users["admin"])
    assert (answer.status_code, answer.json()["state"]) == (200, "canceled")
    again = await portal.call("POST", f"/operations/{made}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "operation_over")


async def test_some_go_through_to_their_end(databases: Databases, portal: Portal, world: World) -> None:
    for state in ("queued", "running"):
        made = await operation(databases, world, state=state, cancelable=False, workflow_id="w")
        answer = await portal.call("POST", f"/operations/{made}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_cancelable")


async def test_who_left_stops_nothing(databases: Databases, portal: Portal, world: World) -> None:
    admin = world.users["admin"]
    made = await operation(databases, world, requested_by=f"user:{admin}")
    await portal.call("DELETE", f"/workspaces/{world.ids['workspace_id']}/members/{admin}")
    assert (await portal.call("GET", f"/operations/{made}", user=admin)).status_code == 404
    assert (await portal.call("POST", f"/operations/{made}/cancel", user=admin)).status_code == 404


async def test_money_is_the_owners_to_stop(portal: Portal, world: World) -> None:
    path = f"/operations/{world.ids['operation_id']}/cancel"
    assert (await portal.call("POST", path, user=world.users["admin"])).status_code == 403
    assert (await portal.call("POST", path, user=world.owner)).status_code == 200


async def test_without_temporal_a_run_is_not_stopped_and_says_so(
    databases: Databases, portal: Portal, world: World
) -> None:
    made = await operation(databases, world, state="running", workflow_id="w/1", run_id="r")
    answer = await portal.call("POST", f"/operations/{made}/cancel", key=new())
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]
    assert (await portal.call("GET", f"/operations/{made}")).json()["state"] == "running"
    assert not await rows(
        databases,
        "control",
        "select 1 from control.outbox where payload ->> 'operation_id' = $1",
        answer.headers["x-request-id"],
    )


async def test_a_run_is_asked_to_stop(databases: Databases, world: World, temporal_server: Server) -> None:
    temporal = await Client.connect(temporal_server.address)
    workflow_id = f"schema/{world.ids['base_id']}/{new()}"
    # Nobody works on this queue: the request stands in the history all the same.
    handle = await temporal.start_workflow("Anything", id=workflow_id, task_queue=f"nobody-{new()}")
    made = await operation(
        databases, world, state="running", workflow_id=workflow_id, run_id=handle.first_execution_run_id
    )
    app: FastAPI = create_app(settings(databases, temporal_address=temporal_server.address))
    async with app.router.lifespan_context(app), client(app) as http:
        answer = await http.post(
            f"/operations/{made}/cancel", headers={"Authorization": f"Bearer {PORTAL_TOKEN}"}
        )
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/operations/{made}"
        events = [event async for event in handle.fetch_history_events()]
        assert any(event.HasField("workflow_execution_cancel_requested_event_attributes") for event in events)
        lost = await operation(
            databases, world, state="running", subject_id=new(), workflow_id=f"lost/{new()}", run_id=None
        )
        gone = await http.post(
            f"/operations/{lost}/cancel", headers={"Authorization": f"Bearer {PORTAL_TOKEN}"}
        )
        await handle.terminate()
    assert (gone.status_code, gone.json()["code"]) == (409, "operation_over")


async def test_lists_are_paged_and_filtered(databases: Databases, portal: Portal, world: World) -> None:
    made = [await operation(databases, world) for _ in range(3)]
    path = f"/tenants/{world.tenant}/operations"
    query = f"kind=schema_apply&state=queued&base_id={world.ids['base_id']}&limit=2"
    first = (await portal.call("GET", f"{path}?{query}")).json()
    second = (await portal.call("GET", f"{path}?{query}&cursor={first['next_cursor']}")).json()
    found = [row["id"] for row in first["operations"] + second["operations"]]
    assert found == sorted(made, reverse=True)
    assert second["next_cursor"] is None
