"""Daily upkeep: partitions ahead of time, idempotency rows and change logs past their days."""

from dataclasses import replace
from datetime import timedelta

from pydantic import BaseModel
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.partitions import PartitionActivities as Do
    from activities.shared import Subject
    from workflows.options import LOCKY, LONG
    from workflows.shared import Process, Start

SWEEP = replace(LONG, timeout=timedelta(hours=1), heartbeat=timedelta(seconds=10))


class Maintained(BaseModel):
    """What was made and let go."""

    partitions_made: int
    idempotency_expired: int
    partitions_dropped: int
    still_needed: dict[str, str]
    """By cluster, the month of the change log that is old enough to go, and what keeps it."""
    clusters_missed: list[str]


@workflow.defn
class MaintainPartitions(Process):
    """Makes the coming months' partitions in every database, and lets go of old idempotency rows and changes."""

    @workflow.run
    async def run(self, start: Start) -> Maintained:
        """Do one day's upkeep."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> Maintained:
        self.expect("logs", "changes", "idempotency", "retention")
        subject = Subject(**self.subject)
        logs = await self.step(
            "logs", Do.ensure_log_partitions, subject, LOCKY, label="audit and activity, months ahead"
        )
        changes = await self.step(
            "changes", Do.ensure_change_partitions, subject, SWEEP, label="change logs of every cluster"
        )
        expired = await self.step(
            "idempotency", Do.expire_idempotency, subject, SWEEP, label="keys older than a day"
        )
        # After the keys, which are answered from the change log.
        dropped = await self.step(
            "retention", Do.drop_change_partitions, subject, SWEEP, label="months past what is kept"
        )
        return Maintained(
            partitions_made=logs.made + changes.made,
            idempotency_expired=expired.rows,
            partitions_dropped=dropped.partitions,
            still_needed=dropped.still_needed,
            clusters_missed=sorted(
                {*changes.clusters_missed, *expired.clusters_missed, *dropped.clusters_missed}
            ),
        )
