"""The chain of money and alerts as runs: each step fails once, and the world is what it would have been."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from activities.alert import AlertActivities
from activities.metering import MeteringActivities
from activities.notify import NotifyActivities
from activities.operations import OperationActivities
from activities.partitions import PartitionActivities
from activities.payments import HttpPayments, OutcomeUnknown
from activities.wallet import Retries, WalletActivities
from core import wallet
from core.ids import Ulid, new
from db import engines
from db.router import Clusters
from db.sessions import ActivitySession, AlarmsSession, AuditSession, ControlSession, sessions
from tests import months, seeds
from tests.conftest import Databases
from tests.parts import PAYMENTS_KEY, Receiver, Sandbox, receiver, sandbox
from tests.workflows.conftest import Faults, Platform, starting
from tests.workflows.recording import keep
from workers import schedules
from workers.registry import queue_worker
from workflows.shared import Start

__all__ = ["receiver", "sandbox"]

RETRIES = Retries(first_s=0.05, longest_s=0.1, attempts=4, arrives_within_s=1)
QUEUES = ("metering", "billing", "notify", "maintenance")
METERING = (
    "count_usage",
    "measure_sizes",
    "debit_usage",
    "capture_snapshots",
    "detect_alerts",
    "request_work",
)
UPKEEP = ("ensure_log_partitions", "ensure_change_partitions", "expire_idempotency", "drop_change_partitions")


def holders(databases: Databases, sandbox: Sandbox, queue: str) -> list[object]:
    """Return a queue's activities as production makes them, but for waits that are a test's."""
    role = f"{queue}_worker"

    def db(name: str, kind: Any) -> Any:
        return sessions(engines.engine(databases.secret(role, name), pool_size=8), kind)

    control, alarms = db("control", ControlSession), db("alarms", AlarmsSession)
    data = Clusters(control, role, SecretStr(databases.passwords[role]))
    own: list[object]
    match queue:
        case "metering":
            own = [MeteringActivities(control, alarms, data), AlertActivities(control, alarms)]
        case "billing":
            provider = HttpPayments(sandbox.url, PAYMENTS_KEY, timeout_s=0.4)
            own = [WalletActivities(control, alarms, provider, RETRIES)]
        case "notify":
            own = [NotifyActivities(control, alarms, allow_private=True, delays_s=(0, 0.05, 0.05))]
        case _:
            activity, audit = db("activity", ActivitySession), db("audit", AuditSession)
            own = [PartitionActivities(control, activity, audit, data)]
    return [OperationActivities(control), *own]


@asynccontextmanager
async def working(databases: Databases, client: Client, sandbox: Sandbox, hook: Any) -> AsyncIterator[None]:
    """Serve the queues of money, alerts and upkeep in this process."""
    async with AsyncExitStack() as stack:
        for queue in QUEUES:
            activities = [
                method
                for holder in holders(databases, sandbox, queue)
                for _, method in inspect.getmembers(holder, inspect.ismethod)
                if hasattr(method, "__temporal_activity_definition")
            ]
            await stack.enter_async_context(
                queue_worker(client, queue, activities, slots=8, drain_s=1, hook=hook)
            )
        yield


@pytest_asyncio.fixture(scope="module")
async def served(
    databases: Databases, client: Client, idle: Platform, sandbox: Sandbox
) -> AsyncIterator[Platform]:
    """The platform with the workers of this chain and a starter."""
    faults = Faults()
    platform = Platform(databases, client, faults, idle.control)
    async with working(databases, client, sandbox, faults), starting(databases, client, sweep_s=0.5):
        yield platform


async def cycle(platform: Platform) -> dict[str, Any]:
    """Run one metering cycle as a Schedule would, and return its operation's row."""
    name = f"metering-{new()}"
    await platform.client.execute_workflow(
        "MeteringCycle", Start(kind="metering", subject_id="metering"), id=name, task_queue="metering"
    )
    (row,) = await platform.rows(
        "control",
        "select id, state, result_json, requested_by from control.operations where workflow_id = $1",
        name,
    )
    return row


async def refill(platform: Platform, tenant: seeds.Tenant, **given: Any) -> Ulid:
    """Ask for a refill as the portal does."""
    given = {"amount_cents": 500, "reason": "topup", **given}
    return await platform.enqueue("wallet_refill", tenant.wallet_id, given, tenant_id=tenant.id)


async def balance(platform: Platform, tenant: seeds.Tenant) -> int:
    (row,) = await platform.rows(
        "control", "select balance_cents from control.wallets where id = $1", tenant.wallet_id
    )
    return int(row["balance_cents"])


async def delivered(platform: Platform, tenant: seeds.Tenant) -> None:
    """Wait until nothing of a tenant's is on its way."""

    async def over() -> bool:
        rows = await platform.rows(
            "control",
            "select 1 from control.operations where tenant_id = $1 and state in ('queued', 'running')", tenant.id,
        )  # fmt: skip
        return not rows

    await seeds.until(over, 30)


async def test_from_usage_to_a_webhook_that_failed_twice(platform: Platform, receiver: Receiver) -> None:
    tenant = await seeds.tenant(platform.databases, balance_cents=500)
    await seeds.channel(platform.databases, tenant.id, "webhook", receiver.url)
    receiver.answers = [(500, {}), (503, {})]
    await seeds.use(platform.databases, tenant.id, 2000)
    await schedules.ensure(platform.client, schedules.wanted(3600)[:1])
    await platform.client.get_schedule_handle("metering").trigger()
    await seeds.until(lambda: balance_is(platform, tenant, 460), 30)
    await seeds.until(lambda: sent(platform, tenant), 30)

    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 1
    assert len(receiver.calls) == 3
    await keep(
        platform.client.get_workflow_handle(f"notify/{receiver.calls[0][0]['webhook-id']}"), "notify.sent"
    )
    rows = await platform.rows(
        "control", "select state, requested_by, result_json from control.operations where kind = 'metering'"
    )
    assert {row["requested_by"] for row in rows} == {"schedule"}
    attempts = await platform.rows(
        "alarms",
        "select a.outcome from alarms.notification_attempts a join alarms.notifications n on n.id = a.notification_id"
        " where n.tenant_id = $1 order by a.attempt", tenant.id,
    )  # fmt: skip
    assert [row["outcome"] for row in attempts] == ["failed", "failed", "sent"]


async def balance_is(platform: Platform, tenant: seeds.Tenant, cents: int) -> bool:
    return await balance(platform, tenant) == cents


async def sent(platform: Platform, tenant: seeds.Tenant) -> bool:
    rows = await platform.rows(
        "alarms", "select 1 from alarms.notifications where tenant_id = $1 and channel = 'webhook' and status = 'sent'",
        tenant.id,
    )  # fmt: skip
    return bool(rows)


@pytest.mark.parametrize("activity", METERING)
async def test_a_cycle_whose_step_is_lost_after_its_effect_ends_as_if_it_had_not(
    platform: Platform, activity: str
) -> None:
    tenant = await seeds.tenant(platform.databases, balance_cents=30, with_table=True)
    await seeds.use(platform.databases, tenant.id, 2000)
    platform.faults.at(activity, "after", ConnectionResetError("gone"))
    row = await cycle(platform)
    assert (row["state"], row["requested_by"]) == ("succeeded", "schedule")
    assert await balance(platform, tenant) == 0
    ledger = await platform.rows(
        "control", "select amount_cents from control.wallet_ledger where wallet_id = $1 and type = 'debit'",
        tenant.wallet_id,
    )  # fmt: skip
    assert ledger == [{"amount_cents": -30}]
    alerts = await platform.rows(
        "alarms",
        "select kind, severity, times_seen from alarms.alerts where tenant_id = $1 order by kind",
        tenant.id,
    )
    assert [(row["kind"], row["severity"], row["times_seen"]) for row in alerts] == [
        ("RUNS_THRESHOLD", "critical", 1), ("WALLET_LOW_BALANCE", "critical", 1),
    ]  # fmt: skip
    snapshots = await platform.rows(
        "alarms", "select count(*)::int as n from alarms.quota_snapshots where tenant_id = $1", tenant.id
    )
    assert snapshots == [{"n": 4}]


async def test_a_low_wallet_is_refilled_by_itself(platform: Platform, sandbox: Sandbox) -> None:
    tenant = await seeds.tenant(
        platform.databases, balance_cents=50, threshold_cents=100, refill_cents=900, auto_refill=True
    )
    await cycle(platform)
    await delivered(platform, tenant)
    assert await balance(platform, tenant) == 950
    assert sandbox.charges(tenant.wallet_id) == [("paid", 900)]


@pytest.mark.parametrize(
    ("activity", "place"),
    [
        ("settle_earlier", "after"),
        ("request_refill", "after"),
        ("charge", "before"),
        ("charge", "after"),
        ("settle_refill", "after"),
    ],
)
async def test_a_refill_that_breaks_anywhere_takes_and_credits_once(
    platform: Platform, sandbox: Sandbox, activity: str, place: str
) -> None:
    tenant = await seeds.tenant(platform.databases)
    platform.faults.at(activity, place, ConnectionResetError("gone"))
    row = await platform.ended(await refill(platform, tenant))
    assert row.state == "succeeded"
    assert row.result is not None
    assert (row.result["amount_cents"], row.result["balance_cents"]) == (500, 500)
    assert await balance(platform, tenant) == 500
    assert sandbox.charges(tenant.wallet_id) == [("paid", 500)]


async def test_a_declined_top_up_says_so(platform: Platform, sandbox: Sandbox) -> None:
    tenant = await seeds.tenant(platform.databases)
    await sandbox.behave(tenant.wallet_id, "decline")
    operation = await refill(platform, tenant)
    row = await platform.ended(operation)
    assert row.state == "failed"
    assert row.error is not None
    assert row.error["code"] == "payment_declined"
    assert "card_declined" in row.error["detail"]
    handle = await platform.handle(operation)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    await keep(handle, "wallet_refill.declined")
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "payment_declined"
    assert await balance(platform, tenant) == 0


async def test_a_provider_that_keeps_silent_leaves_nothing_in_the_dark(
    platform: Platform, sandbox: Sandbox
) -> None:
    tenant = await seeds.tenant(platform.databases)
    await sandbox.behave(tenant.wallet_id, "error", times=50)
    operation = await refill(platform, tenant)
    row = await platform.ended(operation)
    assert row.state == "failed"
    assert row.error is not None
    assert row.error["code"] == "payment_unknown"
    handle = await platform.handle(operation)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    await keep(handle, "wallet_refill.unknown")
    alerts = await platform.rows("alarms", "select kind from alarms.alerts where tenant_id = $1", tenant.id)
    assert alerts == [{"kind": "REFILL_FAILED"}]
    # The provider took the money after all; the next refill finds that out first.
    (lost,) = await platform.rows(
        "control", "select id from control.refills where wallet_id = $1", tenant.wallet_id
    )
    await sandbox.behave(tenant.wallet_id, "ok")
    await HttpPayments(sandbox.url, PAYMENTS_KEY).charge(lost["id"], tenant.wallet_id, 500, "")
    assert (await platform.ended(await refill(platform, tenant, amount_cents=70))).state == "succeeded"
    assert await balance(platform, tenant) == 570
    assert sandbox.charges(tenant.wallet_id) == [("paid", 500), ("paid", 70)]


async def test_two_top_ups_of_one_wallet_go_one_after_the_other(platform: Platform, sandbox: Sandbox) -> None:
    tenant = await seeds.tenant(platform.databases)
    both = [await refill(platform, tenant), await refill(platform, tenant, amount_cents=300)]
    rows = await asyncio.gather(*(platform.ended(operation) for operation in both))
    assert [row.state for row in rows] == ["succeeded", "succeeded"]
    assert await balance(platform, tenant) == 800
    assert rows[0].ended_at is not None
    assert rows[1].started_at is not None
    assert rows[0].ended_at <= rows[1].started_at


@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_top_up_canceled_in_time_takes_nothing(
    platform: Platform, sandbox: Sandbox, place: str
) -> None:
    tenant = await seeds.tenant(platform.databases)
    gate = platform.faults.hold("request_refill", place)
    operation = await refill(platform, tenant)
    await platform.faults.reached("request_refill", place)
    await (await platform.handle(operation)).cancel()
    gate.set()
    assert (await platform.ended(operation)).state == "canceled"
    assert sandbox.charges(tenant.wallet_id) == []
    assert await refills_of(platform, tenant) == [("declined", "never_arrived")]


async def refills_of(platform: Platform, tenant: seeds.Tenant) -> list[tuple[str, str | None]]:
    rows = await platform.rows(
        "control",
        "select state, reason from control.refills where wallet_id = $1 order by id",
        tenant.wallet_id,
    )
    return [(row["state"], row["reason"]) for row in rows]


async def assert_credited_once(platform: Platform, sandbox: Sandbox, tenant: seeds.Tenant) -> None:
    assert await balance(platform, tenant) == 500
    ledger = await platform.rows(
        "control",
        "select amount_cents, type from control.wallet_ledger where wallet_id = $1",
        tenant.wallet_id,
    )
    assert ledger == [{"amount_cents": 500, "type": "topup"}]
    assert sandbox.charges(tenant.wallet_id) == [("paid", 500)]
    assert await refills_of(platform, tenant) == [("paid", None)]


@pytest.mark.parametrize(
    ("activity", "place"),
    [
        ("charge", "after"),
        ("settle_refill", "before"),
        ("settle_refill", "after"),
        ("finish_operation", "before"),
    ],
)
async def test_a_refill_terminated_after_the_charge_is_credited_once(
    platform: Platform, sandbox: Sandbox, activity: str, place: str
) -> None:
    tenant = await seeds.tenant(platform.databases)
    gate = platform.faults.hold(activity, place)
    operation = await refill(platform, tenant)
    await platform.faults.reached(activity, place)
    if activity == "finish_operation":
        platform.faults.gates.clear()
    terminated = await platform.handle(operation)
    await terminated.terminate(reason="wrong button")
    if activity == "settle_refill":
        # The step of the terminated run is on its way still, beside that of the run which clears up.
        await swept(platform, operation, terminated.run_id)
    gate.set()
    row = await platform.ended(operation)
    assert (row.state, row.error) == ("succeeded", None)
    assert row.result is not None
    assert (row.result["amount_cents"], row.result["balance_cents"]) == (500, 500)
    await assert_credited_once(platform, sandbox, tenant)
    await keep(await platform.closed(operation), "wallet_refill.cleared_up")
    assert (await platform.ended(await refill(platform, tenant, amount_cents=1))).state == "succeeded"


async def swept(platform: Platform, operation: Ulid, run_id: str | None) -> None:
    """Wait until another run has an operation."""

    async def is_swept() -> bool:
        return (await platform.operation(operation)).run_id not in (None, run_id)

    await seeds.until(is_swept)


async def test_a_refill_terminated_while_the_provider_is_silent_is_credited_once(
    platform: Platform, sandbox: Sandbox
) -> None:
    tenant = await seeds.tenant(platform.databases)
    await sandbox.behave(tenant.wallet_id, "timeout", hang_s=3)
    operation = await refill(platform, tenant)

    async def is_taken() -> bool:
        return sandbox.charges(tenant.wallet_id) == [("paid", 500)]

    await seeds.until(is_taken)
    await (await platform.handle(operation)).terminate(reason="it takes too long")
    assert (await platform.ended(operation)).state == "succeeded"
    await assert_credited_once(platform, sandbox, tenant)


@pytest.mark.parametrize(
    ("activity", "place", "noted"),
    [
        ("settle_earlier", "after", []),
        ("request_refill", "after", [("declined", "never_arrived")]),
        ("charge", "before", [("declined", "never_arrived")]),
    ],
)
async def test_a_refill_terminated_before_the_charge_takes_nothing(
    platform: Platform, sandbox: Sandbox, activity: str, place: str, noted: list[tuple[str, str]]
) -> None:
    tenant = await seeds.tenant(platform.databases)
    gate = platform.faults.hold(activity, place)
    operation = await refill(platform, tenant)
    await platform.faults.reached(activity, place)
    terminated = await platform.handle(operation)
    await terminated.terminate(reason="wrong button")
    await swept(platform, operation, terminated.run_id)
    gate.set()  # a charge that had not begun by then is not made any more
    row = await platform.ended(operation)
    detail = "the run was terminated: wrong button; no money was taken"
    assert (row.state, row.error) == ("failed", {"code": "terminated", "detail": detail, "errors": []})
    assert sandbox.charges(tenant.wallet_id) == []
    assert await balance(platform, tenant) == 0
    assert await refills_of(platform, tenant) == noted
    await keep(await platform.closed(operation), "wallet_refill.cleared_up_unpaid")


async def test_a_terminated_refill_that_nobody_can_tell_of_is_told_to_people(
    platform: Platform, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await seeds.tenant(platform.databases)
    gate = platform.faults.hold("charge", "after")
    operation = await refill(platform, tenant)
    await platform.faults.reached("charge", "after")

    async def silent(*_: object) -> None:
        raise OutcomeUnknown("nobody answers")

    with monkeypatch.context() as away:
        away.setattr(HttpPayments, "find", silent)
        await (await platform.handle(operation)).terminate(reason="wrong button")
        row = await platform.ended(operation)
    gate.set()
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "payment_unknown")
    alerts = await platform.rows("alarms", "select kind from alarms.alerts where tenant_id = $1", tenant.id)
    assert alerts == [{"kind": "REFILL_FAILED"}]
    assert await refills_of(platform, tenant) == [("requested", None)]
    # The next one finds out first.
    assert (await platform.ended(await refill(platform, tenant, amount_cents=70))).state == "succeeded"
    assert await balance(platform, tenant) == 570


async def test_a_top_up_canceled_while_it_is_charged_goes_through(
    platform: Platform, sandbox: Sandbox
) -> None:
    tenant = await seeds.tenant(platform.databases)
    gate = platform.faults.hold("charge", "before")
    operation = await refill(platform, tenant)
    await platform.faults.reached("charge", "before")
    await (await platform.handle(operation)).cancel()
    gate.set()
    assert (await platform.ended(operation)).state == "succeeded"
    assert await balance(platform, tenant) == 500


async def test_a_delivery_that_is_given_up_is_a_failed_operation(
    platform: Platform, receiver: Receiver
) -> None:
    tenant = await seeds.tenant(platform.databases)
    await seeds.channel(platform.databases, tenant.id, "webhook", receiver.url)
    receiver.answers = [(500, {})] * 9
    await seeds.use(platform.databases, tenant.id, 900)
    await cycle(platform)
    await delivered(platform, tenant)
    (row,) = await platform.rows(
        "control",
        "select state, error_json, subject_id from control.operations where kind = 'notify' and tenant_id = $1",
        tenant.id,
    )  # fmt: skip
    assert (row["state"], row["error_json"]["code"]) == ("failed", "delivery_failed")
    await keep(platform.client.get_workflow_handle(f"notify/{row['subject_id']}"), "notify.dead")
    assert {headers["webhook-id"] for headers, _ in receiver.calls} == {row["subject_id"]}
    assert len(receiver.calls) == 3


async def test_an_operation_names_its_own_waits(platform: Platform, receiver: Receiver) -> None:
    tenant = await seeds.tenant(platform.databases)
    await seeds.channel(platform.databases, tenant.id, "webhook", receiver.url)
    receiver.answers = [(500, {})] * 3
    await seeds.use(platform.databases, tenant.id, 900)
    gate = platform.faults.hold("deliver", "before")
    await cycle(platform)
    (row,) = await platform.rows(
        "alarms", "select id from alarms.notifications where tenant_id = $1 and status = 'pending'", tenant.id
    )
    operation = await platform.enqueue(
        "notify", row["id"], {"delays_s": [0, 0.01, 0.01, 0.01]}, tenant_id=tenant.id
    )
    gate.set()
    await platform.ended(operation)
    await delivered(platform, tenant)
    assert {headers["webhook-id"] for headers, _ in receiver.calls} == {row["id"]}


async def test_operators_can_read_a_cycle(platform: Platform) -> None:
    name = f"metering-{new()}"
    handle = await platform.client.start_workflow(
        "MeteringCycle", Start(kind="metering", subject_id="metering"), id=name, task_queue="metering"
    )
    await handle.result()
    await keep(handle, "metering_cycle.done")
    status = await handle.query("status")
    assert status["kind"] == "metering"
    assert [step["state"] for step in status["steps"]] == ["done"] * 6
    found = {pair.key.name: pair.value for pair in (await handle.describe()).typed_search_attributes}
    assert (found["Phase"], found["OperationId"]) == ("succeeded", status["operation_id"])


async def test_upkeep_runs(platform: Platform) -> None:
    name = f"partitions-{new()}"
    handle = await platform.client.start_workflow(
        "MaintainPartitions",
        Start(kind="partitions", subject_id="partitions"),
        id=name,
        task_queue="maintenance",
    )
    result = await handle.result()
    await keep(handle, "maintain_partitions.done")
    assert result["clusters_missed"] == []
    (row,) = await platform.rows(
        "control", "select state from control.operations where workflow_id = $1", name
    )
    assert row["state"] == "succeeded"
    status = await handle.query("status")
    assert [(step["name"], step["state"]) for step in status["steps"]] == [
        ("logs", "done"), ("changes", "done"), ("idempotency", "done"), ("retention", "done"),
    ]  # fmt: skip


@pytest.mark.parametrize("activity", UPKEEP)
async def test_upkeep_is_done_once_whatever_breaks_in_it(platform: Platform, activity: str) -> None:
    async with platform.databases.own("data") as conn:
        before = await months.there(conn)
        await conn.execute("select platform.ensure_partitions($1, 1)", months.month(8))
        await months.relayed(conn)
        platform.faults.at(activity, "before", ConnectionResetError("gone"))
        platform.faults.at(activity, "after", ConnectionResetError("gone"))
        result = await platform.client.execute_workflow(
            "MaintainPartitions",
            Start(kind="partitions", subject_id="partitions"),
            id=f"partitions-{new()}",
            task_queue="maintenance",
        )
        assert (result["still_needed"], result["clusters_missed"]) == ({}, [])
        # What a try did that was not heard of is done all the same.
        assert result["partitions_dropped"] == (0 if activity == UPKEEP[-1] else 2)
        assert await months.there(conn) == before


async def test_a_refill_is_written_down_under_an_id_that_follows_from_its_operation(
    platform: Platform,
) -> None:
    tenant = await seeds.tenant(platform.databases)
    operation = await refill(platform, tenant)
    row = await platform.ended(operation)
    assert row.result is not None
    assert row.result["refill_id"] == wallet.refill_id(operation)
    handle = await platform.handle(operation)
    await handle.result()
    await keep(handle, "wallet_refill.paid")


async def test_a_refill_that_is_not_needed_any_more_takes_nothing(
    platform: Platform, sandbox: Sandbox
) -> None:
    tenant = await seeds.tenant(platform.databases, balance_cents=500, threshold_cents=100, refill_cents=900)
    operation = await refill(platform, tenant, amount_cents=None, reason="auto")
    row = await platform.ended(operation)
    assert row.state == "succeeded"
    assert row.result is not None
    assert row.result["amount_cents"] == 0
    assert sandbox.charges(tenant.wallet_id) == []
    handle = await platform.handle(operation)
    await handle.result()
    await keep(handle, "wallet_refill.not_wanted")
