"""Upkeep that must not wait: months' partitions made ahead of time, old idempotency rows and changes let go."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import structlog
from temporalio import activity

from activities.shared import Outcome, Subject
from core import retention
from db.activity import partitions as activity_partitions
from db.audit import partitions as audit_partitions
from db.control import clusters, idempotency_expiry
from db.data import upkeep
from db.data.upkeep import Drop
from db.faults import Fault, fault
from db.router import Clusters
from db.sessions import ActivitySession, AuditSession, ControlSession
from db.transactions import Sessions

BATCH = 1_000
_BATCHES_MAX = 10_000
_log = structlog.get_logger("partitions")


class Made(Outcome):
    """How many partitions were made, and which clusters could not be reached."""

    made: int
    clusters_missed: list[str] = []


class Expired(Outcome):
    """How many idempotency rows were let go."""

    rows: int
    clusters_missed: list[str] = []


class Dropped(Outcome):
    """How many months of change logs were dropped; for each cluster whose next one is still needed, by what."""

    partitions: int
    still_needed: dict[str, str] = {}
    clusters_missed: list[str] = []


class PartitionActivities:
    """The daily upkeep of every database."""

    def __init__(
        self,
        control: Sessions[ControlSession],
        activity_db: Sessions[ActivitySession],
        audit: Sessions[AuditSession],
        data: Clusters,
    ) -> None:
        self._control = control
        self._activity = activity_db
        self._audit = audit
        self._data = data

    @activity.defn
    async def ensure_log_partitions(self, _: Subject) -> Made:
        """Make the logs' coming months in the Activity and Audit DBs. Repeating it changes nothing."""
        months = retention.partitions_needed(datetime.now(UTC))
        async with self._activity.begin() as session:
            made = await activity_partitions.ensure(session, months)
        async with self._audit.begin() as audit:
            made += await audit_partitions.ensure(audit, months)
        return Made(made=made)

    @activity.defn
    async def ensure_change_partitions(self, _: Subject) -> Made:
        """Make the change logs' coming months on every cluster. Repeating it changes nothing."""
        months = retention.partitions_needed(datetime.now(UTC))
        made, missed = 0, []
        for cluster_id in await self._clusters():
            try:
                async with self._data.transaction(cluster_id) as conn:
                    made += await upkeep.ensure_partitions(conn, months)
            except Exception as error:
                missed.append(_missed(cluster_id, error))
            activity.heartbeat(cluster_id)
        return Made(made=made, clusters_missed=missed)

    @activity.defn
    async def expire_idempotency(self, _: Subject) -> Expired:
        """Delete idempotency rows that are past their day, in batches. Repeating it finds none."""
        before = retention.idempotency_expires_before(datetime.now(UTC))
        rows, missed = 0, []
        for _batch in range(_BATCHES_MAX):
            async with self._control.begin() as session:
                gone = await idempotency_expiry.expire(session, before, BATCH)
            rows += gone
            activity.heartbeat(rows)
            if gone < BATCH:
                break
        for cluster_id in await self._clusters():
            try:
                rows += await self._expire_at(cluster_id, before)
            except Exception as error:
                missed.append(_missed(cluster_id, error))
        return Expired(rows=rows, clusters_missed=missed)

    @activity.defn
    async def drop_change_partitions(self, _: Subject) -> Dropped:
        """Drop the change logs' months that are too old and that nobody needs. Repeating it finds none."""
        now = datetime.now(UTC)
        dropped, needed, missed = 0, dict[str, str](), []
        for cluster_id in await self._clusters():
            try:
                async for month, said in self._drop_at(cluster_id, now):
                    if said is Drop.DROPPED:
                        dropped += 1
                    elif said is not Drop.ABSENT:
                        needed[cluster_id] = f"{month:%Y-%m}: {said}"
                    activity.heartbeat(cluster_id)
            except Exception as error:
                # Where a reader holds the log for long, trying again at once would only hold up the writers.
                missed.append(_missed(cluster_id, error, Fault.BUSY))
        return Dropped(partitions=dropped, still_needed=needed, clusters_missed=missed)

    async def _drop_at(self, cluster_id: str, now: datetime) -> AsyncIterator[tuple[date, Drop]]:
        """Drop a cluster's old months from the first one on, up to one that is needed."""
        async with self._data.connection(cluster_id) as conn:
            log = await upkeep.change_log(conn)
        for month in retention.months_past(log.months, log.kept_days, now) if log else ():
            async with self._data.transaction(cluster_id) as conn:
                said = await upkeep.drop_partition(conn, month)
            yield month, said
            if said not in (Drop.DROPPED, Drop.ABSENT):
                return

    async def _expire_at(self, cluster_id: str, before: datetime) -> int:
        rows = 0
        for _ in range(_BATCHES_MAX):
            async with self._data.transaction(cluster_id) as conn:
                gone = await upkeep.expire_idempotency(conn, before, BATCH)
            rows += gone
            activity.heartbeat(cluster_id)
            if gone < BATCH:
                break
        return rows

    async def _clusters(self) -> list[str]:
        async with self._control() as session:
            return [cluster.id for cluster in await clusters.every(session)]


def _missed(cluster_id: str, error: Exception, *also: Fault) -> str:
    """Go on to the next cluster when this one is away; tomorrow's run, and months of head start, make up for it."""
    found = fault(error)
    if found not in (Fault.AWAY, *also):
        raise error
    _log.warning(f"cluster {found}", cluster_id=cluster_id, problem=type(error).__name__)
    return cluster_id
