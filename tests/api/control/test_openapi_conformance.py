"""What the Control API's OpenAPI describes is what it answers, to calls that are made from it."""

import json
from collections.abc import Sequence

from fastapi import FastAPI

from tests.api.conforming import KEYS, Service, conform
from tests.api.control.conftest import PORTAL_TOKEN, client
from tests.api.worlds import World


async def test_answers_are_as_described(app: FastAPI, world: World, other: World) -> None:
    known: dict[str, Sequence[str]] = {
        name: [value, value, value, other.ids[name]] for name, value in world.ids.items()
    }
    known |= {
        "user_id": list(world.users.values()),
        "Planebase-Acting-User": [*world.users.values(), world.owner, world.owner],
        "Idempotency-Key": KEYS,
    }
    async with client(app) as http:
        document = json.loads(json.dumps(app.openapi()))
        service = Service("control", document, http, f"Bearer {PORTAL_TOKEN}", known)
        await conform(service, 6)
    assert {200, 201, 400, 401, 404, 409, 422} <= set(service.answers)
