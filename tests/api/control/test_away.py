"""A database that is away: the process starts, says so with 503, and goes on when it is back."""

from typing import Any

import pytest
from pydantic import SecretStr

from api.control.app import create_app
from tests.api.control.conftest import PORTAL_TOKEN, client, settings
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows

NOWHERE = SecretStr("postgresql://control_api:x@127.0.0.1:1/control")
HEADERS = {"Authorization": f"Bearer {PORTAL_TOKEN}"}


async def get(databases: Databases, path: str, method: str = "GET", **changes: Any) -> Any:
    app = create_app(settings(databases, **changes))
    async with app.router.lifespan_context(app), client(app) as http:
        return await http.request(method, path, headers=HEADERS)


@pytest.mark.parametrize(
    ("away", "path", "status"),
    [
        ("control_dsn", "/healthz", 200),
        ("control_dsn", "/tenants", 503),
        ("control_dsn", "/tenants/{tenant_id}/activity", 503),
        ("activity_dsn", "/tenants", 200),
        ("activity_dsn", "/tenants/{tenant_id}/activity", 503),
        ("alarms_dsn", "/tenants", 200),
        ("alarms_dsn", "/tenants/{tenant_id}/alerts", 503),
    ],
)
async def test_what_needs_it_says_so(
    databases: Databases, world: World, away: str, path: str, status: int
) -> None:
    answer = await get(databases, path.format(**world.ids), **{away: NOWHERE})
    assert answer.status_code == status
    if status == 503:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["retry-after"]) > 0


async def test_a_wrong_password_is_no_crash(databases: Databases) -> None:
    wrong = SecretStr(
        databases.dsn("control_api", "control").replace(databases.passwords["control_api"], "x")
    )
    answer = await get(databases, "/tenants", control_dsn=wrong)
    assert answer.status_code == 503


async def test_without_the_alarms_database_nothing_is_acknowledged(
    databases: Databases, world: World
) -> None:
    path = f"/alerts/{world.ids['alert_id']}/ack"
    assert (await get(databases, path, "POST", alarms_dsn=NOWHERE)).status_code == 503
    without_control = await get(databases, path, "POST", control_dsn=NOWHERE)
    assert without_control.status_code == 503
    found = await rows(
        databases, "alarms", "select status from alarms.alerts where id = $1", world.ids["alert_id"]
    )
    assert found[0]["status"] == "open"
