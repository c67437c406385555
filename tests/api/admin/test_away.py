"""Without a record there is no act; without the Control DB there is a record, and no act either."""

from typing import Any

import pytest
from pydantic import SecretStr

from api.admin.app import create_app
from tests.api.admin.conftest import Operator, client, recorded, settings
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows

NOWHERE = SecretStr("postgresql://admin_api:x@127.0.0.1:1/audit")


async def state(databases: Databases, world: World) -> Any:
    return [
        await rows(databases, "control", "select * from control.tenants where id = $1", world.tenant),
        await rows(databases, "control", "select * from control.wallets where tenant_id = $1", world.tenant),
        await rows(databases, "control", "select count(*) from control.outbox"),
        await rows(databases, "control", "select count(*) from control.idempotency"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/tenants/{tenant_id}/suspend", {"reason": "r"}),
        ("POST", "/wallets/{wallet_id}/adjustments", {"amount_cents": 5, "reason": "r", "ref": "a/1"}),
        ("GET", "/tenants", None),
        ("GET", "/nothing", None),
        ("GET", "/openapi.json", None),
    ],
)
async def test_the_audit_is_away(
    databases: Databases, operator: Operator, world: World, method: str, path: str, body: Any
) -> None:
    before = await state(databases, world)
    app = create_app(settings(databases, audit_dsn=NOWHERE))
    async with app.router.lifespan_context(app), client(app) as http:
        answer = await http.request(
            method,
            path.format(**world.ids),
            json=body,
            headers={"Authorization": f"Bearer {operator.token}", "Idempotency-Key": "k"},
        )
        assert (await http.get("/healthz")).status_code == 200
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]
    assert await state(databases, world) == before


async def test_the_control_database_is_away(databases: Databases, operator: Operator, world: World) -> None:
    app = create_app(settings(databases, control_dsn=NOWHERE))
    async with app.router.lifespan_context(app), client(app) as http:
        answer = await http.get(
            f"/tenants/{world.tenant}", headers={"Authorization": f"Bearer {operator.token}"}
        )
        login = await http.post("/login", json={"email": operator.email, "password": "x", "totp": "123456"})
    assert (answer.status_code, login.status_code) == (503, 503)
    kept = await recorded(databases, answer.headers["x-request-id"])
    assert [row["details_json"]["phase"] for row in kept] == ["intent", "outcome"]
    assert kept[1]["details_json"]["status"] == 503
    assert kept[0]["target_id"] == world.tenant


async def test_the_audit_takes_no_record(databases: Databases, operator: Operator, world: World) -> None:
    before = await state(databases, world)
    suspend = ("POST", f"/tenants/{world.tenant}/suspend")
    rights = "execute on all functions in schema audit"
    async with databases.own("audit") as conn:
        await conn.execute(f"revoke {rights} from admin_api, public")
        try:
            answer = await operator.call(*suspend, json={"reason": "r"})
        finally:
            await conn.execute("grant execute on function audit.add_admin_events(jsonb) to admin_api")
            await conn.execute("grant execute on function audit.add_security_events(jsonb) to admin_api")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert await state(databases, world) == before
