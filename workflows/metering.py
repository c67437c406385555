"""A metering cycle: usage is counted, measured, debited and looked at, for all tenants at once."""

from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import BaseModel
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.alert import AlertActivities, Detect
    from activities.metering import Cycle, MeteringActivities
    from activities.wallet import Bill, WalletActivities
    from workflows.options import FAST, LONG
    from workflows.shared import SCHEDULED_AT, Process, Start

COUNT = replace(FAST, timeout=timedelta(minutes=5))
# A table is counted for at most 20 s between two heartbeats; a page of anything else takes a second.
MEASURE = replace(LONG, timeout=timedelta(hours=1))
SWEEP = replace(MEASURE, heartbeat=timedelta(seconds=10))
# Only the billing queue's role may post to ledgers.
DEBIT = replace(SWEEP, queue="billing")


class Metered(BaseModel):
    """What a cycle found and did."""

    period: datetime
    tenants_counted: int
    tenants_measured: int
    clusters_missed: list[str]
    debits: int
    debited_cents: int
    debits_failed: int = 0
    unpaid_cents: int
    snapshots: int
    alerts_opened: int
    alerts_worsened: int
    alerts_resolved: int
    notifications: int
    refills: int


@workflow.defn
class MeteringCycle(Process):
    """Closes every open window up to its period; each step is set-based and safe to repeat."""

    @workflow.run
    async def run(self, start: Start) -> Metered:
        """Run one cycle."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> Metered:
        self.expect("count", "measure", "debit", "capture", "detect", "request")
        period = workflow.info().typed_search_attributes.get(SCHEDULED_AT) or workflow.info().start_time
        cycle = Cycle(**self.subject, period=period)
        counted = await self.step(
            "count", MeteringActivities.count_usage, cycle, COUNT, label="usage events into monthly counters"
        )
        measured = await self.step(
            "measure", MeteringActivities.measure_sizes, cycle, MEASURE, label="records and bytes per tenant"
        )
        billed = await self.step(
            "debit",
            WalletActivities.debit_usage,
            Bill(**self.subject, period=period),
            DEBIT,
            label=f"runs over the plan, {counted.tenants} tenants with new usage",
        )
        cycle = cycle.model_copy(update={"months": counted.months})
        captured = await self.step(
            "capture", MeteringActivities.capture_snapshots, cycle, SWEEP, label="quota snapshots"
        )
        detected = await self.step(
            "detect",
            AlertActivities.detect_alerts,
            Detect(**self.subject, period=period),
            SWEEP,
            label="alerts opened, seen again, ended",
        )
        requested = await self.step(
            "request", MeteringActivities.request_work, cycle, SWEEP, label="notifications and refills"
        )
        return Metered(
            period=period,
            tenants_counted=counted.tenants,
            tenants_measured=measured.tenants,
            clusters_missed=measured.clusters_missed,
            debits=billed.debits,
            debited_cents=billed.debited_cents,
            debits_failed=billed.failed,
            unpaid_cents=detected.unpaid_cents,
            snapshots=captured.snapshots,
            alerts_opened=detected.opened,
            alerts_worsened=detected.worsened,
            alerts_resolved=detected.resolved,
            notifications=requested.notifications,
            refills=requested.refills,
        )
