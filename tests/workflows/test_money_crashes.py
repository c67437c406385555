"""kill -9 of the worker at every step boundary of the money chain: nothing taken twice, nothing left out."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio

from core.ids import Ulid, derived, ms_of, new
from tests import seeds
from tests.parts import PAYMENTS_KEY, Receiver, Sandbox, receiver, sandbox
from tests.workflows.conftest import Platform
from tests.workflows.processes import LONG_S, Process, Workers, workers
from workflows.shared import Start

__all__ = ["receiver", "sandbox", "workers"]

QUEUES = "metering,billing,notify"


class Money:
    """Real workers of this chain, with the sandbox as their provider."""

    def __init__(self, workers: Workers, sandbox: Sandbox) -> None:
        self._workers = workers
        self._sandbox = sandbox

    async def start(self, crash_at: str = "") -> Process:
        process = await self._workers.launch(
            ["--queues", QUEUES, "--loops", "starter"],
            PLANEBASE_CRASH_AT=crash_at,
            PLANEBASE_PAYMENTS_URL=self._sandbox.url,
            PLANEBASE_PAYMENTS_KEY=PAYMENTS_KEY.get_secret_value(),
            PLANEBASE_WEBHOOK_ALLOW_PRIVATE="true",
            PLANEBASE_NOTIFY_DELAYS_S="[0, 0.1, 0.1, 0.1]",
        )

        async def is_ready() -> bool:
            return process.ready.exists() or process.ended.is_set()

        await seeds.until(is_ready)
        return process

    async def die_at(self, point: str) -> None:
        """Start a worker and return when it has killed itself at `point`."""
        assert await (await self.start(point)).wait() == -signal.SIGKILL

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """A worker that works, and is told to stop at the end."""
        process = await self.start()
        try:
            yield
        finally:
            if not process.ended.is_set():
                os.kill(process.pid, signal.SIGTERM)
            assert await process.wait() == 0


@pytest_asyncio.fixture
async def money(workers: Workers, sandbox: Sandbox) -> Money:
    return Money(workers, sandbox)


async def test_refills_survive_a_kill_at_every_boundary(
    idle: Platform, money: Money, sandbox: Sandbox
) -> None:
    asked: list[tuple[seeds.Tenant, Ulid]] = []
    points = (
        "request_refill:after",
        "charge:before",
        "charge:after",
        "settle_refill:after",
        "finish_operation:before",
    )
    for point in points:
        # One more wallet for each death; the later workers meet those that the earlier ones left, too.
        tenant = await seeds.tenant(idle.databases)
        given = {"amount_cents": 500, "reason": "topup"}
        operation = await idle.enqueue("wallet_refill", tenant.wallet_id, given, tenant_id=tenant.id)
        asked.append((tenant, operation))
        await money.die_at(point)
    async with money.at_work():
        for tenant, operation in asked:
            row = await idle.ended(operation, LONG_S)
            assert (row.state, row.error) == ("succeeded", None)
            assert sandbox.charges(tenant.wallet_id) == [("paid", 500)]
            ledger = await idle.rows(
                "control",
                "select amount_cents, type from control.wallet_ledger where wallet_id = $1",
                tenant.wallet_id,
            )
            assert ledger == [{"amount_cents": 500, "type": "topup"}]


async def test_a_cycle_survives_a_kill_of_each_of_its_workers(idle: Platform, money: Money) -> None:
    tenant = await seeds.tenant(idle.databases, balance_cents=500, with_table=True)
    await seeds.use(idle.databases, tenant.id, 2000)
    name = f"metering-{new()}"
    handle = await idle.client.start_workflow(
        "MeteringCycle", Start(kind="metering", subject_id="metering"), id=name, task_queue="metering"
    )
    # The two steps that would hurt most if their effect came twice; the others break in test_money.
    for activity in ("debit_usage", "detect_alerts"):
        await money.die_at(f"{activity}:after")
    async with money.at_work():
        await handle.result()
    debits = await idle.rows(
        "control", "select amount_cents from control.wallet_ledger where wallet_id = $1 and type = 'debit'",
        tenant.wallet_id,
    )  # fmt: skip
    assert debits == [{"amount_cents": -40}]
    alerts = await idle.rows("alarms", "select times_seen from alarms.alerts where tenant_id = $1", tenant.id)
    assert alerts == [{"times_seen": 1}]
    (row,) = await idle.rows("control", "select state from control.operations where workflow_id = $1", name)
    assert row["state"] == "succeeded"


async def test_deliveries_survive_a_kill_at_every_boundary(
    idle: Platform, money: Money, receiver: Receiver
) -> None:
    asked: list[Ulid] = []
    for point in ("deliver:before", "deliver:after", "deliver:after:2", "finish_operation:after"):
        asked.append(await notification(idle, receiver.url))
        # The first attempt fails, so that a death also comes between two attempts.
        receiver.answers = [(500, {})]
        await money.die_at(point)
    async with money.at_work():
        for made in asked:
            operation = derived(ms_of(made), "notify", made)
            assert (await idle.ended(operation, LONG_S)).state == "succeeded"
    accepted = {headers["webhook-id"] for headers, _ in receiver.calls}
    assert accepted == set(asked)
    rows = await idle.rows(
        "alarms",
        "select status from alarms.notifications where id = any($1::text[])",
        [str(each) for each in asked],
    )
    assert [row["status"] for row in rows] == ["sent"] * len(asked)


async def notification(idle: Platform, url: str) -> Ulid:
    """Make a pending notification with its operation, as the detector does."""
    tenant_id, alert_id, made = new(), new(), new()
    async with idle.databases.own("alarms") as conn:
        await conn.execute(
            "insert into alarms.alerts (id, tenant_id, kind, severity, dedupe_key, first_seen_at, last_seen_at)"
            " values ($1, $2, 'RUNS_THRESHOLD', 'critical', 'RUNS_THRESHOLD/2026-11', now(), now())",
            alert_id, tenant_id,
        )  # fmt: skip
        await conn.execute(
            'insert into alarms.notifications (id, alert_id, tenant_id, channel, "to")'
            " values ($1, $2, $3, 'webhook', $4)",
            made, alert_id, tenant_id, url,
        )  # fmt: skip
    async with idle.databases.own("control") as conn:
        await conn.execute(
            "insert into control.operations (id, kind, tenant_id, subject_id, requested_by)"
            " values ($1, 'notify', $2, $3, 'test')",
            derived(ms_of(made), "notify", made), tenant_id, str(made),
        )  # fmt: skip
    return made
