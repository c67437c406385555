"""Metering: set-based steps over all tenants, each of them safe to repeat."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import structlog
from temporalio import activity

from activities.alert import Alerts
from activities.shared import Outcome, Subject
from core import alert, ids, wallet
from core.ids import Ulid
from core.metering import month_of, window_of
from db.alarms import snapshots
from db.alarms.snapshots import Snapshot
from db.control import metering, operations, refills
from db.control.metering import Home, Purse, Size, Standing
from db.control.refills import Failed
from db.data import sizes
from db.faults import Fault, fault
from db.router import Clusters
from db.sessions import AlarmsSession, ControlSession
from db.transactions import Sessions

PAGE = 200
_PAGES_MAX = 100_000
_log = structlog.get_logger("metering")


class Cycle(Subject):
    """One metering cycle; `period` is the moment that it was scheduled for."""

    period: datetime
    months: list[date] = []
    """The months that got usage since the cycle before, for the steps after the first."""


class Counted(Outcome):
    """The months that have grown, and for how many tenants."""

    months: list[date]
    tenants: int


class Measured(Outcome):
    """How many tenants were measured; a cluster that was away keeps its tenants' last sizes."""

    tenants: int
    clusters_missed: list[str] = []


class Captured(Outcome):
    """How many snapshots the cycle has."""

    snapshots: int


class Requested(Outcome):
    """What was asked for: deliveries that wait, and refills begun."""

    notifications: int
    refills: int


class MeteringActivities:
    """The steps of a metering cycle but for the debits, which the billing queue makes."""

    def __init__(
        self,
        control: Sessions[ControlSession],
        alarms: Sessions[AlarmsSession],
        data: Clusters,
    ) -> None:
        self._control = control
        self._alarms = alarms
        self._data = data
        self._alerts = Alerts(control, alarms)

    @activity.defn
    async def count_usage(self, cycle: Cycle) -> Counted:
        """Bring the counters of every month up to its events. Repeating it changes nothing."""
        async with self._control.begin() as session:
            dirty = await metering.count_events(session)
        return Counted(
            months=sorted({each.month for each in dirty}), tenants=len({each.tenant_id for each in dirty})
        )

    @activity.defn
    async def measure_sizes(self, cycle: Cycle) -> Measured:
        """Count records and bytes of every tenant at its cluster. Repeating it measures again."""
        month = month_of(cycle.period)
        after: Ulid | None = None
        measured = 0
        missed: set[str] = set()
        for _ in range(_PAGES_MAX):
            async with self._control() as session:
                homes = await metering.homes(session, after, PAGE)
            if not homes:
                break
            found = []
            for home in homes:
                size = None if home.cluster_id in missed else await self._size(home, missed)
                if size is not None:
                    found.append(size)
                activity.heartbeat(home.tenant_id)
            async with self._control.begin() as session:
                await metering.write_sizes(session, month, found)
            measured += len(found)
            after = homes[-1].tenant_id
        return Measured(tenants=measured, clusters_missed=sorted(missed))

    async def _size(self, home: Home, missed: set[str]) -> Size | None:
        try:
            async with self._data.transaction(home.cluster_id, "tenant_reader") as conn:
                records = 0
                for table in await sizes.tables(conn, home.schema):
                    records += await sizes.records(conn, home.schema, table)
                    activity.heartbeat(home.tenant_id)
                return Size(home.tenant_id, records, await sizes.stored_bytes(conn, home.schema))
        except Exception as error:
            if fault(error) is not Fault.AWAY:
                raise
            # The others' money does not wait for one cluster; its tenants keep their last sizes.
            _log.warning("cluster away, sizes kept", cluster_id=home.cluster_id, problem=type(error).__name__)
            missed.add(home.cluster_id)
            return None

    @activity.defn
    async def capture_snapshots(self, cycle: Cycle) -> Captured:
        """Write what every tenant stands at beside its plan's limits. Repeating it changes nothing."""
        current = month_of(cycle.period)
        after: Ulid | None = None
        count = 0
        for _ in range(_PAGES_MAX):
            async with self._control() as session:
                page = await metering.standings(session, cycle.months, current, after, PAGE)
            if not page:
                break
            rows = [row for standing in page for row in _snapshots(standing)]
            async with self._alarms.begin() as alarms:
                await snapshots.add(alarms, cycle.period, rows, Ulid(cycle.operation_id))
            after, count = page[-1].tenant_id, count + len(rows)
            activity.heartbeat(after)
        return Captured(snapshots=count)

    @activity.defn
    async def request_work(self, cycle: Cycle) -> Requested:
        """Queue a delivery per waiting notification and a refill per low wallet, each once."""
        waiting = await self._alerts.deliver_pending()
        after: Ulid | None = None
        begun = 0
        for _ in range(_PAGES_MAX):
            async with self._control() as session:
                page = await metering.homes(session, after, PAGE, active_only=True)
            if not page:
                break
            after = page[-1].tenant_id
            async with self._control.begin() as session:
                low = await self._low(session, [home.tenant_id for home in page])
                never = await refills.never_asked(session, [purse.wallet_id for purse in low])
                begun += await self._refill(session, low, never, cycle)
            for purse in low:
                for failed in never.get(purse.wallet_id, [])[:1]:
                    seen = alert.refill_failed(purse.wallet_id, failed.reason, purse.refill_cents)
                    await self._alerts.raise_(purse.tenant_id, seen, failed.operation_id, failed.at)
            activity.heartbeat(after)
        return Requested(notifications=waiting, refills=begun)

    async def _low(self, session: ControlSession, tenant_ids: list[Ulid]) -> list[Purse]:
        return [purse for purse in await metering.purses(session, tenant_ids) if _wants_money(purse)]

    async def _refill(
        self,
        session: ControlSession,
        low: Sequence[Purse],
        never: Mapping[Ulid, Sequence[Failed]],
        cycle: Cycle,
    ) -> int:
        if not low:
            return 0
        latest = await refills.latest(session, [purse.wallet_id for purse in low])
        busy = await refills.under_way(session, [purse.wallet_id for purse in low])
        begun = 0
        for purse in low:
            outcomes = wallet.with_failed(
                latest.get(purse.wallet_id, []), [each.at for each in never.get(purse.wallet_id, [])]
            )
            if purse.wallet_id in busy or not wallet.may_auto_refill(outcomes, cycle.period):
                continue
            await operations.enqueue(
                session,
                id=ids.derived(int(cycle.period.timestamp() * 1000), "auto_refill", purse.wallet_id),
                kind="wallet_refill",
                subject_id=purse.wallet_id,
                tenant_id=purse.tenant_id,
                base_id=None,
                input={"reason": "auto"},
                requested_by="metering",
            )
            begun += 1
        return begun


def _wants_money(purse: Purse) -> bool:
    low = wallet.is_low(purse.balance_cents, purse.threshold_cents) or purse.unpaid_cents > 0
    return purse.is_auto and purse.refill_cents > 0 and low


def _snapshots(standing: Standing) -> list[Snapshot]:
    window = window_of(standing.month)
    metrics: list[tuple[str, int | Decimal, int | Decimal | None]] = [
        ("runs_used", standing.runs_used, standing.monthly_runs),
        ("api_calls", standing.api_calls, standing.api_limit),
        ("records_count", standing.records_count, standing.record_cap),
        ("storage_gb", standing.storage_gb_used, standing.storage_cap_gb),
    ]
    return [
        Snapshot(standing.tenant_id, name, window, Decimal(value), None if limit is None else Decimal(limit))
        for name, value, limit in metrics
    ]
