"""The Schedules: runs that nobody asks for, at fixed times."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from workers.temporal import TASK_TIMEOUT
from workflows.registry import KINDS, attributes_of, details_of, summary_of
from workflows.shared import Start

_CATCH_UP = timedelta(hours=1)
_LOG = structlog.get_logger("worker.schedules")


@dataclass(frozen=True)
class Every:
    """One kind of operation, every so often, counted from midnight UTC plus `offset`."""

    kind: str
    interval: timedelta
    offset: timedelta = timedelta(0)
    at_once: bool = False
    """Whether it also runs whenever a worker starts: a machine that sleeps at night misses the hour."""


def wanted(metering_interval_s: int) -> tuple[Every, ...]:
    """Return the Schedules that there should be."""
    return (
        Every("metering", timedelta(seconds=metering_interval_s)),
        Every("partitions", timedelta(days=1), offset=timedelta(hours=3), at_once=True),
    )


async def ensure(client: Client, every: Iterable[Every]) -> None:
    """Make each Schedule, or bring it up to date; one that an operator paused stays paused."""
    for each in every:
        made = _schedule(each)
        try:
            await client.create_schedule(each.kind, made, trigger_immediately=each.at_once)
        except ScheduleAlreadyRunningError:
            handle = client.get_schedule_handle(each.kind)
            await handle.update(_keeping_state(made))
            if each.at_once:
                await handle.trigger()
        _LOG.info("schedule ensured", kind=each.kind, interval_s=each.interval.total_seconds())


def _schedule(each: Every) -> Schedule:
    kind = KINDS[each.kind]
    start = Start(kind=each.kind, subject_id=each.kind)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            kind.workflow,
            start,
            id=kind.id_of(start),
            task_queue=kind.queue,
            task_timeout=TASK_TIMEOUT,
            typed_search_attributes=attributes_of(start),
            static_summary=summary_of(kind, start, {}),
            static_details=details_of(kind, start, "schedule"),
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=each.interval, offset=each.offset)]),
        # A run closes every window that is open, so none is made up for one by one.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=_CATCH_UP),
    )


def _keeping_state(made: Schedule):  # type: ignore[no-untyped-def]
    def update(there: ScheduleUpdateInput) -> ScheduleUpdate:
        made.state = there.description.schedule.state
        return ScheduleUpdate(schedule=made)

    return update
