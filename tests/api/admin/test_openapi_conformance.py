"""What the Admin API's OpenAPI describes is what it answers, to calls that are made from it."""

import json
from collections.abc import Sequence

from fastapi import FastAPI

from tests.api.admin.conftest import Operator, client
from tests.api.conforming import KEYS, Service, conform
from tests.api.worlds import World

ENDS_THE_SESSION = "POST /logout"


async def test_answers_are_as_described(app: FastAPI, world: World, newcomer: Operator) -> None:
    assert (await newcomer.log_in()).status_code == 200
    known: dict[str, Sequence[str]] = {name: [value] for name, value in world.ids.items()}
    known |= {
        "actor_admin_id": [newcomer.id],
        "email": [newcomer.email],
        "totp": ["123456"],
        "Idempotency-Key": KEYS,
    }
    async with client(app) as http:
        document = json.loads(json.dumps(app.openapi()))
        service = Service("admin", document, http, f"Bearer {newcomer.token}", known)
        await conform(service, 8, without=[ENDS_THE_SESSION])
    assert {200, 201, 400, 401, 404, 409, 422} <= set(service.answers)
