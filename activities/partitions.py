"""Upkeep that must not wait: months' partitions made ahead of time, and old idempotency rows let go."""

from datetime import UTC, datetime

import structlog
from temporalio import activity

from activities.shared import Outcome, Subject
from core import retention
from db.activity import partitions as activity_partitions
from db.audit import partitions as audit_partitions
from db.control import clusters, idempotency_expiry
from db.data import upkeep
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


def _missed(cluster_id: str, error: Exception) -> str:
    """Go on to the next cluster when this one is away; tomorrow's run, and months of head start, make up for it."""
    if fault(error) is not Fault.AWAY:
        raise error
    _log.warning("cluster away", cluster_id=cluster_id, problem=type(error).__name__)
    return cluster_id
