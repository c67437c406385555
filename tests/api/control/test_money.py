"""Plans, usage and wallets: read, changed by owners, and filled through the provider only."""

import pytest

from core.ids import new
from core.wallet import REFILL_MAX_CENTS
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows


async def test_a_top_up_is_an_operation_and_moves_nothing_yet(
    databases: Databases, portal: Portal, world: World
) -> None:
    path = f"/wallets/{world.ids['wallet_id']}"
    answer = await portal.call(
        "POST", f"{path}/topups", user=world.owner, json={"amount_cents": 2500, "payment_ref": "pm_1"}
    )
    assert answer.status_code == 202
    found = await rows(
        databases, "control", "select * from control.operations where id = $1", answer.json()["id"]
    )
    assert (found[0]["kind"], found[0]["subject_id"]) == ("wallet_refill", world.ids["wallet_id"])
    assert found[0]["input_json"] == {"amount_cents": 2500, "reason": "topup", "payment_ref": "pm_1"}
    assert found[0]["requested_by"] == f"user:{world.owner}"
    assert (await portal.call("GET", path)).json()["balance_cents"] == 10_000


async def test_the_ledger_is_paged_newest_first(databases: Databases, portal: Portal, world: World) -> None:
    async with databases.own("control") as conn:
        for n in range(4):
            await conn.execute(
                "insert into control.wallet_ledger"
                " (id, wallet_id, type, amount_cents, ref, seq, balance_after_cents)"
                " values ($1, $2, 'debit', -5, $3, 0, 0)",
                new(),
                world.ids["wallet_id"],
                f"d/{n}",
            )
    path = f"/wallets/{world.ids['wallet_id']}/ledger"
    first = (await portal.call("GET", f"{path}?limit=3", user=world.users["viewer"])).json()
    rest = (await portal.call("GET", f"{path}?limit=3&cursor={first['next_cursor']}")).json()
    entries = first["entries"] + rest["entries"]
    assert [entry["seq"] for entry in entries] == [5, 4, 3, 2, 1]
    assert entries[0]["balance_after_cents"] == sum(entry["amount_cents"] for entry in entries) == 9_980
    wallet = (await portal.call("GET", f"/tenants/{world.tenant}/wallet")).json()
    assert wallet["balance_cents"] == 9_980


async def test_refill_settings(portal: Portal, world: World) -> None:
    path = f"/wallets/{world.ids['wallet_id']}"
    on = await portal.call(
        "PATCH",
        path,
        user=world.owner,
        json={"auto_refill_enabled": True, "refill_amount_cents": 5_000, "refill_threshold_cents": 1_000},
    )
    assert on.json()["auto_refill_enabled"]
    less = await portal.call("PATCH", path, json={"refill_amount_cents": 0})
    assert less.status_code == 422
    off = await portal.call("PATCH", path, json={"auto_refill_enabled": False, "refill_amount_cents": 0})
    assert (off.json()["auto_refill_enabled"], off.json()["refill_threshold_cents"]) == (False, 1_000)
    assert off.json()["balance_cents"] == 10_000


@pytest.mark.parametrize("user", ["owner", None])
async def test_a_plan_is_changed(portal: Portal, world: World, user: str | None) -> None:
    path = f"/tenants/{world.tenant}/subscription"
    acting = world.users[user] if user else None
    changed = await portal.call("PATCH", path, user=acting, json={"plan_code": "business", "seats": 40})
    assert (changed.json()["plan"]["code"], changed.json()["seats"]) == ("business", 40)
    shown = (await portal.call("GET", path, user=world.users["viewer"])).json()
    assert shown == changed.json()
    codes = [plan["code"] for plan in (await portal.call("GET", "/plans")).json()["plans"]]
    assert codes == ["free", "team", "business"]
    page = (await portal.call("GET", "/plans?limit=1")).json()
    assert len((await portal.call("GET", f"/plans?cursor={page['next_cursor']}")).json()["plans"]) == 2


async def test_usage_by_month_and_now(databases: Databases, portal: Portal, world: World) -> None:
    async with databases.own("control") as conn:
        for month in ("2026-01-01", "2026-02-01", "2026-03-01"):
            await conn.execute(
                "insert into control.usage_counters (id, tenant_id, month, storage_gb_used)"
                f" values ($1, $2, '{month}', 0.25)",
                new(),
                world.tenant,
            )
        await conn.execute(
            "insert into control.rate_limits (id, tenant_id, \"window\", api_limit) values ($1, $2, 'minute', 9)",
            new(),
            world.tenant,
        )
    now = (await portal.call("GET", f"/tenants/{world.tenant}/usage/current", user=world.owner)).json()
    assert now["runs_used"] == 7
    assert now["allowance"]["monthly_runs"] == 1_000
    first = (await portal.call("GET", f"/tenants/{world.tenant}/usage?limit=2")).json()
    rest = (await portal.call("GET", f"/tenants/{world.tenant}/usage?cursor={first['next_cursor']}")).json()
    months = [row["month"] for row in first["months"] + rest["months"]]
    assert len(months) == 4
    assert months == sorted(months, reverse=True)
    assert rest["months"][-1]["storage_gb_used"] == 0.25
    limits = (await portal.call("GET", f"/tenants/{world.tenant}/rate-limits")).json()
    assert limits == {"rate_limits": [{"window": "minute", "api_limit": 9, "runs_limit": None}]}


async def test_a_refill_is_bounded_wherever_it_is_asked_for(portal: Portal, world: World) -> None:
    path = f"/wallets/{world.ids['wallet_id']}"
    over = REFILL_MAX_CENTS + 1
    for method, where, body, pointer in (
        ("POST", f"{path}/topups", {"amount_cents": over}, "/amount_cents"),
        ("PATCH", path, {"refill_amount_cents": over, "auto_refill_enabled": True}, "/refill_amount_cents"),
    ):
        answer = await portal.call(method, where, user=world.owner, json=body)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
