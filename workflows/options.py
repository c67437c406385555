"""How activities are run: named presets, so that each step says what kind of work it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType, ActivityHandle

from activities.shared import ALIVE

A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True)
class Options:
    """One preset. Without `attempts` it is tried until it works; what cannot work fails non-retryably."""

    timeout: timedelta
    first_retry: timedelta = timedelta(milliseconds=200)
    longest_retry: timedelta = timedelta(seconds=10)
    attempts: int = 0
    heartbeat: timedelta | None = None
    give_up: timedelta | None = None
    patience: timedelta | None = timedelta(minutes=10)
    local: bool = False
    queue: str | None = None
    """Another task queue than the run's own, where the step needs another role."""

    def start(self, activity: Callable[[Any, A], Awaitable[R]], arg: A, summary: str) -> ActivityHandle[R]:
        """Start `activity` so that a cancel waits for its end: an undo never meets a step still at work."""
        retry = RetryPolicy(
            initial_interval=self.first_retry,
            maximum_interval=self.longest_retry,
            maximum_attempts=self.attempts,
        )
        cancel = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        if self.local:
            return workflow.start_local_activity_method(
                activity,
                arg,
                start_to_close_timeout=self.timeout,
                schedule_to_close_timeout=self.give_up,
                retry_policy=retry,
                # A longer wait becomes a timer of the run, which leaves it free to answer queries.
                local_retry_threshold=timedelta(seconds=1),
                cancellation_type=cancel,
                summary=summary,
            )
        return workflow.start_activity_method(
            activity,
            arg,
            task_queue=self.queue,
            start_to_close_timeout=self.timeout,
            schedule_to_close_timeout=self.give_up,
            heartbeat_timeout=self.heartbeat,
            retry_policy=retry,
            cancellation_type=cancel,
            summary=summary[:200],
        )


FAST = Options(timeout=timedelta(seconds=10), heartbeat=ALIVE)
"""A few rows in one database."""

LOCKY = Options(timeout=timedelta(seconds=60), heartbeat=ALIVE, longest_retry=timedelta(seconds=30))
"""DDL: waits for locks and comes again, without end."""

LONG = Options(timeout=timedelta(hours=24), heartbeat=timedelta(seconds=30), patience=None)
"""Copies, backfills, builds: heartbeats after each piece, and keeps its place in the database."""

EXT = Options(timeout=timedelta(seconds=30), attempts=10, longest_retry=timedelta(minutes=1))
"""Somebody else's server: bounded, and the caller decides what the end means."""

LOCAL = Options(timeout=timedelta(seconds=5), attempts=4, patience=None, local=True)
"""Within the workflow task, 2 ms instead of 44: only where the whole chain takes under a second.

After four tries it goes on as FAST: unlike those of a local activity, a remote one's tries leave no trace in
the run's history, which may not grow while a database is away for a day.
"""

NOTE = Options(
    timeout=timedelta(seconds=2), attempts=2, give_up=timedelta(seconds=3), patience=None, local=True
)
"""Worth two tries and no more: nothing depends on it."""
