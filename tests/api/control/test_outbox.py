"""Whatever is changed is told in the tenant's activity, in a form that the Activity DB takes."""

import json

from fastapi import FastAPI

from tests.api import worlds
from tests.api.control import routes
from tests.api.control.conftest import Portal
from tests.conftest import Databases
from tests.seeds import rows

# A user belongs to no tenant before somebody makes the user a member: there is nobody to tell.
UNTOLD = {"POST /users"}


async def test_every_mutation_leaves_one_event(databases: Databases, app: FastAPI, portal: Portal) -> None:
    wrong = []
    events = []
    for route in routes.every(app.openapi()):
        if not route.writes or str(route) in UNTOLD or route.path.endswith("/provision"):
            continue
        world = await worlds.make(databases)
        body = routes.body(route)
        if route.path.endswith("/members") and body:
            body["user_id"] = await worlds.user(databases)
        path = route.path.format(**world.ids, user_id=world.users["viewer"])
        user = world.users["viewer"] if route.path == "/users/{user_id}" else world.owner
        answer = await portal.call(route.method, path, user=user, json=body)
        told = await rows(
            databases,
            "control",
            "select id, occurred_at, destination, payload from control.outbox"
            " where payload ->> 'operation_id' = $1",
            answer.headers["x-request-id"],
        )
        if len(told) != 1 or told[0]["destination"] != "activity":
            wrong.append(f"{route}: {answer.status_code} {told}")
            continue
        payload = told[0]["payload"]
        if payload["actor_user_id"] != user or (
            payload["tenant_id"] != world.tenant and str(route) != "POST /tenants"
        ):
            wrong.append(f"{route}: {payload}")
        events.append({"id": told[0]["id"], "occurred_at": told[0]["occurred_at"].isoformat(), **payload})
    assert not wrong, "\n".join(wrong)
    async with databases.connect("maintenance_worker", "activity") as conn:
        await conn.execute("select activity.add_resource_events($1::jsonb)", json.dumps(events))
    found = await rows(
        databases,
        "activity",
        "select distinct action from activity.resource_events where id = any($1)",
        [event["id"] for event in events],
    )
    assert len(found) > 15
