"""Refills: money is taken once and credited once, whatever the provider does and wherever it breaks."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError

from activities.payments import Charged, HttpPayments, OutcomeUnknown, PaymentRefused
from activities.wallet import Ask, Charge, Order, Settle
from core import wallet
from core.errors import Invalid, NotFound
from core.ids import new
from tests import seeds
from tests.activities.conftest import Money, run
from tests.conftest import Databases
from tests.parts import Sandbox


async def ask(
    databases: Databases, tenant: seeds.Tenant, amount_cents: int | None = 500, *, if_low: bool = False
) -> Ask:
    operation = new()
    async with databases.own("control") as conn:
        await conn.execute(
            "insert into control.operations (id, kind, subject_id, requested_by, state)"
            " values ($1, 'wallet_refill', $2, 'test', 'running')",
            operation,
            operation,
        )
    return Ask(
        operation_id=operation,
        tenant_id=tenant.id,
        wallet_id=tenant.wallet_id,
        amount_cents=amount_cents,
        if_low=if_low,
    )


def settled(order: Order, charge: Charge) -> Settle:
    return Settle(
        operation_id=order.operation_id,
        tenant_id=order.tenant_id,
        refill_id=order.refill_id,
        wallet_id=order.wallet_id,
        amount_cents=order.amount_cents,
        **charge.model_dump(exclude={"attempts"}),
    )


async def charged(money: Money, order: Order) -> Charge:
    """Charge as Temporal would: try again while the activity says so."""
    for attempt in range(1, 10):
        try:
            return await run(money.wallet.charge, order, attempt=attempt)
        except ApplicationError as error:
            if error.non_retryable:
                raise
    raise AssertionError("it is tried without end")


async def state(databases: Databases, tenant: seeds.Tenant) -> dict[str, Any]:
    (purse,) = await seeds.rows(
        databases, "control", "select balance_cents from control.wallets where id = $1", tenant.wallet_id
    )
    refills = await seeds.rows(
        databases, "control",
        "select state, reason, amount_cents from control.refills where wallet_id = $1 order by id", tenant.wallet_id,
    )  # fmt: skip
    topups = await seeds.rows(
        databases, "control",
        "select amount_cents, ref from control.wallet_ledger"
        " where wallet_id = $1 and type = 'topup' and ref <> 'opening'",
        tenant.wallet_id,
    )  # fmt: skip
    alerts = await seeds.rows(
        databases,
        "alarms",
        "select kind, status, times_seen from alarms.alerts where tenant_id = $1",
        tenant.id,
    )
    told = await seeds.rows(
        databases, "control", "select payload ->> 'action' as a from control.outbox where payload ->> 'tenant_id' = $1",
        tenant.id,
    )  # fmt: skip
    return {
        "balance": purse["balance_cents"],
        "refills": [(row["state"], row["reason"], row["amount_cents"]) for row in refills],
        "topups": len(topups),
        "alerts": [(row["kind"], row["status"], row["times_seen"]) for row in alerts],
        "told": [row["a"] for row in told],
    }


async def test_a_paid_refill_is_credited_once_however_often_each_step_runs(
    databases: Databases, money: Money, sandbox: Sandbox
) -> None:
    tenant = await seeds.tenant(databases, balance_cents=20)
    wanted = await ask(databases, tenant)
    for _ in range(2):
        order = await run(money.wallet.request_refill, wanted)
        charge = await run(money.wallet.charge, order)
        credited = await run(money.wallet.settle_refill, settled(order, charge))
        assert credited.amount_cents == 500
        assert order.refill_id == wallet.refill_id(wanted.operation_id)
    assert await state(databases, tenant) == {
        "balance": 520, "refills": [("paid", None, 500)], "topups": 1, "alerts": [], "told": ["WALLET_TOPUP"],
    }  # fmt: skip
    assert sandbox.charges(tenant.wallet_id) == [("paid", 500)]


async def test_a_declined_charge_is_said_and_credits_nothing(
    databases: Databases, money: Money, sandbox: Sandbox
) -> None:
    tenant = await seeds.tenant(databases)
    await seeds.channel(databases, tenant.id, "webhook", "https://hooks.example.com/x")
    await sandbox.behave(tenant.wallet_id, "decline")
    order = await run(money.wallet.request_refill, await ask(databases, tenant))
    charge = await run(money.wallet.charge, order)
    assert (charge.state, charge.reason) == ("declined", "card_declined")
    for _ in range(2):
        await run(money.wallet.settle_refill, settled(order, charge))
    assert await state(databases, tenant) == {
        "balance": 0, "refills": [("declined", "card_declined", 500)], "topups": 0,
        "alerts": [("REFILL_FAILED", "open", 1)], "told": [],
    }  # fmt: skip
    queued = await seeds.rows(
        databases, "control", "select kind from control.operations where tenant_id = $1", tenant.id
    )
    assert queued == [{"kind": "notify"}]
    # The next one goes through, and the alert has ended.
    order = await run(money.wallet.request_refill, await ask(databases, tenant))
    await run(money.wallet.settle_refill, settled(order, await charged(money, order)))
    found = await state(databases, tenant)
    assert (found["balance"], found["alerts"]) == (500, [("REFILL_FAILED", "resolved", 1)])


async def test_a_charge_that_was_made_in_silence_is_found_and_not_made_again(
    databases: Databases, money: Money, sandbox: Sandbox
) -> None:
    tenant = await seeds.tenant(databases)
    await sandbox.behave(tenant.wallet_id, "timeout", hang_s=3)
    order = await run(money.wallet.request_refill, await ask(databases, tenant))
    charge = await charged(money, order)
    assert charge.state == "paid"
    assert sandbox.charges(tenant.wallet_id) == [("paid", 500)]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_charge_that_broke_is_made_once_in_the_end(
    databases: Databases, money: Money, sandbox: Sandbox, times: int
) -> None:
    tenant = await seeds.tenant(databases)
    await sandbox.behave(tenant.wallet_id, "error", times=times)
    order = await run(money.wallet.request_refill, await ask(databases, tenant))
    assert (await charged(money, order)).state == "paid"
    assert sandbox.charges(tenant.wallet_id) == [("paid", 500)]


async def test_after_a_silence_the_provider_is_asked_before_it_is_asked_for_money(
    databases: Databases, money: Money, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await seeds.tenant(databases)
    order = await run(money.wallet.request_refill, await ask(databases, tenant))
    calls: list[str] = []

    async def charge(*_: object) -> Charged:
        calls.append("charge")
        raise OutcomeUnknown

    async def find(*_: object) -> Charged | None:
        calls.append("find")
        return None

    monkeypatch.setattr(money.provider, "charge", charge)
    monkeypatch.setattr(money.provider, "find", find)
    assert (await charged(money, order)).state == "unknown"
    assert calls == ["charge", "find", "charge", "find", "charge", "find", "charge"]


async def test_what_nobody_knows_is_said_and_cleared_up_before_the_next_charge(
    databases: Databases, money: Money, sandbox: Sandbox
) -> None:
    tenant = await seeds.tenant(databases, balance_cents=3)
    await sandbox.behave(tenant.wallet_id, "timeout", hang_s=3)
    first = await run(money.wallet.request_refill, await ask(databases, tenant))
    with pytest.raises(ApplicationError):
        await run(money.wallet.charge, first, attempt=1)
    await run(money.wallet.report_unknown, first)
    found = await state(databases, tenant)
    assert (found["balance"], found["refills"]) == (3, [("requested", None, 500)])
    assert found["alerts"] == [("REFILL_FAILED", "open", 1)]

    second = await ask(databases, tenant, 700)
    await run(money.wallet.request_refill, second)
    for _ in range(2):
        await run(money.wallet.settle_earlier, second)
    found = await state(databases, tenant)
    assert found["balance"] == 503
    assert sorted(found["refills"]) == [("paid", None, 500), ("requested", None, 700)]
    assert found["alerts"] == [("REFILL_FAILED", "resolved", 1)]


async def test_a_refill_that_never_arrived_is_closed_after_a_while(
    databases: Databases, money: Money
) -> None:
    tenant = await seeds.tenant(databases)
    await run(money.wallet.request_refill, await ask(databases, tenant))
    later = await ask(databases, tenant)
    await run(money.wallet.settle_earlier, later)
    assert (await state(databases, tenant))["refills"] == [("requested", None, 500)]
    async with databases.own("control") as conn:
        await conn.execute(
            "update control.refills set created_at = now() - interval '1 hour' where wallet_id = $1",
            tenant.wallet_id,
        )
    await run(money.wallet.settle_earlier, later)
    assert (await state(databases, tenant))["refills"] == [("declined", "never_arrived", 500)]


async def test_a_refill_nobody_needs_any_more_is_not_made(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(databases, balance_cents=500, threshold_cents=100, refill_cents=900)
    order = await run(money.wallet.request_refill, await ask(databases, tenant, None, if_low=True))
    assert not order.is_wanted
    assert (await state(databases, tenant))["refills"] == []
    low = await seeds.tenant(databases, balance_cents=50, threshold_cents=100, refill_cents=900)
    order = await run(money.wallet.request_refill, await ask(databases, low, None, if_low=True))
    assert (order.is_wanted, order.amount_cents) == (True, 900)


@pytest.mark.parametrize("amount", [0, -5, 100_000_001, None])
async def test_an_amount_out_of_bounds_is_refused(
    databases: Databases, money: Money, amount: int | None
) -> None:
    tenant = await seeds.tenant(databases)
    with pytest.raises(Invalid):
        await run(money.wallet.request_refill, await ask(databases, tenant, amount))
    assert (await state(databases, tenant))["refills"] == []


async def test_a_wallet_that_is_not_there_is_refused(money: Money) -> None:
    with pytest.raises(NotFound):
        await run(money.wallet.request_refill, Ask(operation_id=new(), wallet_id=new(), amount_cents=5))


async def test_many_settlements_at_once_credit_once(
    databases: Databases, money: Money, sandbox: Sandbox
) -> None:
    tenant = await seeds.tenant(databases)
    order = await run(money.wallet.request_refill, await ask(databases, tenant))
    charges = await asyncio.gather(*(run(money.wallet.charge, order) for _ in range(4)))
    assert len({charge.provider_ref for charge in charges}) == 1
    await asyncio.gather(*(run(money.wallet.settle_refill, settled(order, charges[0])) for _ in range(4)))
    found = await state(databases, tenant)
    assert (found["balance"], found["topups"], found["told"]) == (500, 1, ["WALLET_TOPUP"])
    assert sandbox.charges(tenant.wallet_id) == [("paid", 500)]


async def test_a_provider_that_refuses_the_request_is_not_asked_again(sandbox: Sandbox) -> None:
    stranger = HttpPayments(sandbox.url, SecretStr("wrong"))
    with pytest.raises(PaymentRefused, match="401"):
        await stranger.charge("k", "c", 5, "")
    nobody = HttpPayments("http://127.0.0.1:1", SecretStr("k"), timeout_s=0.5)
    with pytest.raises(OutcomeUnknown):
        await nobody.find("k")


async def test_a_charge_that_is_refused_outright_was_not_made(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(databases)
    order = await run(money.wallet.request_refill, await ask(databases, tenant))
    charge = await run(money.wallet.charge, order.model_copy(update={"customer": "x" * 201}))
    assert (charge.state, charge.reason) == ("declined", "the payment provider refuses the request with 422")


async def test_the_provider_keeps_one_answer_per_key(money: Money, sandbox: Sandbox) -> None:
    customer = new()
    await sandbox.behave(customer, "decline")
    first = await money.provider.charge("key-" + customer, customer, 100, "")
    again = await money.provider.charge("key-" + customer, customer, 100, "")
    assert first == again == await money.provider.find("key-" + customer)
    assert first.state == "declined"
    with pytest.raises(PaymentRefused, match="409"):
        await money.provider.charge("key-" + customer, customer, 101, "")
    assert await money.provider.find("no such key") is None
