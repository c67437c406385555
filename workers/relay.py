"""The relay: carries the change logs and the outbox to the databases that are fed from them, once.

A plain loop, one per source and one at a time per database; its receivers drop what they have already, and
the cursor moves after they have it, so that ending it anywhere loses nothing and doubles nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge
from pydantic import SecretStr

from core.errors import PlanebaseError
from db import engines
from db.activity import writers as activity_writers
from db.audit import writers as audit_writers
from db.control import clusters, deliveries, usage_events
from db.data import changes
from db.faults import Fault, comes_back, fault
from db.router import Clusters
from db.sessions import ActivitySession, AuditSession, ControlSession, sessions
from db.transactions import Sessions

MAX_ROWS = 500
MAX_BYTES = 4_000_000
_POLL_FIRST_S = 0.05
_POLL_LONGEST_S = 1.0
_LOOK_FOR_CLUSTERS_S = 5.0
_CARRY_MAX_S = 120.0

_lag = Gauge("planebase_relay_lag_seconds", "Age of the newest row carried last, 0 when drained", ["source"])
_held = Gauge("planebase_relay_watermark_age_seconds", "How long rows wait for a transaction", ["source"])
_rows = Counter("planebase_relay_rows_total", "Rows carried", ["source"])
_stuck = Gauge("planebase_relay_stuck_rows", "Outbox rows that their receiver refuses", ["source"])

log = structlog.get_logger()


class Credentials(Protocol):
    """What the relay may reach, as the maintenance queue's settings have it."""

    control_dsn: SecretStr
    activity_dsn: SecretStr | None
    audit_dsn: SecretStr | None
    data_user: str | None
    data_password: SecretStr | None


class ChangeRelay:
    """One cluster's change log on its way to activity and usage."""

    def __init__(
        self,
        cluster_id: str,
        data: Clusters,
        control: Sessions[ControlSession],
        activity: Sessions[ActivitySession],
        *,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._cluster_id = cluster_id
        self._data = data
        self._control = control
        self._activity = activity
        self._max_rows = max_rows
        self._max_bytes = max_bytes

    async def run(self, stop: asyncio.Event) -> None:
        """Carry changes until `stop`; waits while another relay is at this database or a database is away."""
        await _keep_at(stop, f"changes of {self._cluster_id}", self._session, stop)

    async def _session(self, stop: asyncio.Event) -> bool:
        async with self._data.connection(self._cluster_id) as conn:
            if not await changes.try_lock(conn):
                return False
            at = await changes.cursor(conn)
            delay_s = _POLL_FIRST_S
            while not stop.is_set():
                # A network that swallows answers must not hold the loop for ever.
                async with asyncio.timeout(_CARRY_MAX_S):
                    moved = await self.carry(conn, at)
                if moved == at:
                    _held.labels(self._cluster_id).set(await changes.held_back_s(conn, at))
                    await _pause(stop, delay_s)
                    delay_s = min(delay_s * 2, _POLL_LONGEST_S)
                else:
                    at, delay_s = moved, _POLL_FIRST_S
        return True

    async def carry(self, conn: engines.Connection, at: changes.Cursor) -> changes.Cursor:
        """Carry one batch and return the cursor after it; repeating it changes nothing."""
        batch = await changes.take(conn, at, self._max_rows, self._max_bytes)
        if batch.cursor == at:
            _lag.labels(self._cluster_id).set(0)
            return at
        if batch.events:
            async with self._activity.begin() as activity:
                await activity_writers.add_resource_events(
                    activity, [event.id for event in batch.events], [event.row for event in batch.events]
                )
        if batch.written:
            async with self._control.begin() as control:
                await usage_events.add(
                    control,
                    [
                        usage_events.Use(w.id, w.tenant_id, "runs", w.records, w.window_start, w.operation_id)
                        for w in batch.written
                    ],
                )
        await changes.move(conn, batch.cursor)
        _rows.labels(self._cluster_id).inc(len(batch.events))
        _lag.labels(self._cluster_id).set(0 if batch.is_drained else batch.lag_s)
        return batch.cursor


class OutboxRelay:
    """The Control DB's outbox on its way to activity and audit; a delivered row is deleted."""

    def __init__(
        self,
        control: Sessions[ControlSession],
        activity: Sessions[ActivitySession],
        audit: Sessions[AuditSession],
        *,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._control = control
        self._activity = activity
        self._audit = audit
        self._max_rows = max_rows
        self._refused: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver rows until `stop`; where two do so at once, the receivers take each row once."""
        await _keep_at(stop, "outbox", self.carry_all)

    async def carry_all(self) -> bool:
        """Go through the outbox once; tells whether anything was delivered. A row that is refused stays."""
        at, delivered, refused = (0, 0), 0, set[str]()
        oldest_s = 0.0
        while True:
            async with self._control() as control:
                parcels = await deliveries.waiting(control, at, self._max_rows)
            if not parcels:
                break
            oldest_s = max(oldest_s, parcels[0].age_s)
            at = (parcels[-1].xid, parcels[-1].seq)
            done = await self._deliver(parcels, refused)
            if done:
                async with self._control.begin() as control:
                    await deliveries.forget(control, [parcel.id for parcel in done])
            delivered += len(done)
        self._refused = refused
        _rows.labels("outbox").inc(delivered)
        _stuck.labels("outbox").set(len(refused))
        _lag.labels("outbox").set(oldest_s)
        return delivered > 0

    async def _deliver(self, parcels: list[deliveries.Parcel], refused: set[str]) -> list[deliveries.Parcel]:
        done = []
        for destination in ("activity", "audit"):
            some = [parcel for parcel in parcels if parcel.destination == destination]
            # Rows that were refused before go alone, so that they hold up nobody.
            fresh = [parcel for parcel in some if parcel.id not in self._refused]
            for group in [fresh, *([parcel] for parcel in some if parcel.id in self._refused)]:
                done += await self._send(group, refused)
        return done

    async def _send(self, group: list[deliveries.Parcel], refused: set[str]) -> list[deliveries.Parcel]:
        if not group:
            return []
        try:
            await self._append(group)
        except Exception as error:
            if fault(error) is not Fault.REFUSED:
                raise
            if len(group) > 1:
                half = len(group) // 2
                return await self._send(group[:half], refused) + await self._send(group[half:], refused)
            if group[0].id not in self._refused:
                log.error("outbox row refused", outbox_id=group[0].id, error=_line(error))
            refused.add(group[0].id)
            return []
        return group

    async def _append(self, group: list[deliveries.Parcel]) -> None:
        ids, rows = [parcel.id for parcel in group], [parcel.row for parcel in group]
        if group[0].destination == "activity":
            async with self._activity.begin() as activity:
                await activity_writers.add_resource_events(activity, ids, rows)
        else:
            async with self._audit.begin() as audit:
                await audit_writers.add_admin_events(audit, ids, rows)


async def run(queue: Credentials, stop: asyncio.Event) -> None:
    """Carry everything until `stop`, from every cluster that the Control DB names."""
    if (
        queue.activity_dsn is None
        or queue.audit_dsn is None
        or queue.data_user is None
        or queue.data_password is None
    ):
        raise ValueError("the relay needs the maintenance queue's activity, audit and data credentials")
    pools = [
        engines.engine(dsn, pool_size=4) for dsn in (queue.control_dsn, queue.activity_dsn, queue.audit_dsn)
    ]
    control, activity = sessions(pools[0], ControlSession), sessions(pools[1], ActivitySession)
    audit = sessions(pools[2], AuditSession)
    data = Clusters(control, queue.data_user, queue.data_password, pool_size=2)
    running: dict[str, asyncio.Task[None]] = {}

    async def find_clusters() -> bool:
        async with control() as session:
            known = await clusters.every(session)
        for cluster in known:
            if cluster.id not in running:
                relay = ChangeRelay(cluster.id, data, control, activity)
                running[cluster.id] = asyncio.create_task(relay.run(stop))
        return False

    outbox = asyncio.create_task(OutboxRelay(control, activity, audit).run(stop))
    try:
        await _keep_at(stop, "clusters", find_clusters, longest_s=_LOOK_FOR_CLUSTERS_S)
    finally:
        await asyncio.gather(outbox, *running.values())
        await data.close()
        for pool in pools:
            await pool.dispose()


async def _keep_at(
    stop: asyncio.Event,
    what: str,
    attempt: Callable[..., Awaitable[bool]],
    *arguments: object,
    longest_s: float = _POLL_LONGEST_S,
) -> None:
    """Call `attempt` until `stop`, slower while it finds nothing; a database that is away is waited for."""
    delay_s, trouble = _POLL_FIRST_S, ""
    while not stop.is_set():
        try:
            found = await attempt(*arguments)
        except Exception as error:
            # Whatever it is: a loop that ends without a word would be found out by what is missing.
            if trouble != (trouble := type(error).__name__):
                quiet = isinstance(error, PlanebaseError) or comes_back(error)
                say = log.warning if quiet else log.error
                say(
                    "relay waits",
                    source=what,
                    error=f"{trouble}: {_line(error)}",
                    exc_info=not quiet,
                )
            found = False
        else:
            if trouble:
                log.info("relay goes on", source=what)
            trouble = ""
        delay_s = _POLL_FIRST_S if found else min(delay_s * 2, longest_s)
        if not found:
            await _pause(stop, delay_s)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
