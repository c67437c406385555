"""The detector, and the way from an alert to the operations that tell people of it."""

from collections.abc import Sequence
from datetime import datetime

from temporalio import activity

from activities.shared import Outcome, Subject
from core import alert, ids
from core.alert import Observation
from core.ids import Ulid
from core.metering import month_of, window_of
from db.alarms import alert_writes, notification_writes, snapshots
from db.alarms.notification_writes import Pending
from db.alarms.snapshots import Snapshot
from db.control import metering, operations
from db.control.metering import Purse
from db.sessions import AlarmsSession, ControlSession
from db.transactions import Sessions

PAGE = 200
_PAGES_MAX = 100_000


class Detect(Subject):
    """Look at what one cycle has measured."""

    period: datetime


class Detected(Outcome):
    """How many alerts changed, and how; and what all wallets owe."""

    unpaid_cents: int = 0
    opened: int = 0
    worsened: int = 0
    seen: int = 0
    resolved: int = 0


class Alerts:
    """How any activity raises an alert or ends one: in the Alarms DB, and then as operations that deliver."""

    def __init__(self, control: Sessions[ControlSession], alarms: Sessions[AlarmsSession]) -> None:
        self._control = control
        self._alarms = alarms

    async def raise_(
        self,
        tenant_id: Ulid | None,
        seen: Observation,
        operation_id: Ulid,
        at: datetime,
        *,
        not_to: Ulid | None = None,
    ) -> None:
        """Open the alert or see it again, and have people told once. Repeating it changes nothing."""
        async with self._alarms.begin() as session:
            alert_id = await alert_writes.observe(session, tenant_id, seen, at, operation_id, not_to=not_to)
        await self.deliver_pending(alert_id)

    async def end(self, tenant_id: Ulid | None, dedupe_key: str, at: datetime) -> None:
        """End the live alert of a key, if there is one."""
        async with self._alarms.begin() as session:
            await alert_writes.resolve(session, tenant_id, dedupe_key, at)

    async def deliver_pending(self, alert_id: Ulid | None = None) -> int:
        """Queue one `notify` operation per waiting notification, once each; returns how many wait."""
        after: Ulid | None = None
        count = 0
        for _ in range(_PAGES_MAX):
            async with self._alarms() as alarms:
                page = await notification_writes.pending(alarms, after, PAGE, alert_id)
            if not page:
                break
            await self._queue(page)
            after, count = page[-1].id, count + len(page)
        return count

    async def _queue(self, page: Sequence[Pending]) -> None:
        async with self._control.begin() as control:
            for each in page:
                await operations.enqueue(
                    control,
                    id=ids.derived(ids.ms_of(each.id), "notify", each.id),
                    kind="notify",
                    subject_id=each.id,
                    tenant_id=each.tenant_id,
                    base_id=None,
                    input={},
                    requested_by="alerts",
                )


class AlertActivities:
    """The detector of a metering cycle."""

    def __init__(self, control: Sessions[ControlSession], alarms: Sessions[AlarmsSession]) -> None:
        self._control = control
        self._alarms = alarms

    @activity.defn
    async def detect_alerts(self, cycle: Detect) -> Detected:
        """Make each tenant's live alerts match the cycle's snapshots. Repeating it changes nothing."""
        total = {"opened": 0, "worsened": 0, "seen": 0, "resolved": 0}
        unpaid_cents = 0
        after: Ulid | None = None
        for page_number in range(_PAGES_MAX):
            async with self._alarms() as alarms:
                page = await snapshots.tenants(alarms, cycle.period, after, PAGE)
            if not page:
                break
            async with self._control() as control:
                purses = await metering.purses(control, page)
            unpaid_cents += sum(purse.unpaid_cents for purse in purses)
            async with self._alarms.begin() as alarms:
                # What a month that is over stood at is history, and nobody can do anything about it.
                now = await snapshots.of(alarms, cycle.period, page, window_of(month_of(cycle.period)))
                live = await alert_writes.live(alarms, page, alert.DETECTED)
                changes = [
                    alert_writes.Tenants(
                        tenant_id, alert.decide(live.get(tenant_id, []), _seen(tenant_id, now, purses))
                    )
                    for tenant_id in page
                ]
                done = await alert_writes.apply(alarms, changes, cycle.period, Ulid(cycle.operation_id))
            total = {name: total[name] + done[name] for name in total}
            after = page[-1]
            activity.heartbeat(page_number)
        return Detected(unpaid_cents=unpaid_cents, **total)


def _seen(tenant_id: Ulid, taken: Sequence[Snapshot], purses: Sequence[Purse]) -> list[Observation]:
    found = [
        alert.threshold(each.metric, each.window, each.value, each.limit)
        for each in taken
        if each.tenant_id == tenant_id
    ]
    found += [
        alert.low_balance(each.wallet_id, each.balance_cents, each.threshold_cents, each.unpaid_cents)
        for each in purses
        if each.tenant_id == tenant_id
    ]
    return [each for each in found if each is not None]
