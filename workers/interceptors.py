"""Around every activity: one log line, and errors in Temporal's terms."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import Histogram
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.shared import ALIVE, Outcome, Subject
from core.errors import PlanebaseError
from db.faults import Fault, fault

Hook = Callable[[str, str, Any], Awaitable[None]]
"""Called with the activity's name, `before` or `after`, and its input; tests make it raise."""

_BUSY_MAX_S = 30.0
_UNKNOWN_ATTEMPTS = 10
_LOG = structlog.get_logger("worker.activity")
_SECONDS = Histogram("planebase_activity_seconds", "Activity attempts", ["activity", "outcome"])


class ActivityInterceptor(Interceptor):
    """Logs, measures and translates; `hook` is for tests, PLANEBASE_CRASH_AT for those that kill."""

    def __init__(self, hook: Hook | None = None) -> None:
        self._hook = hook or crash_hook()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Put ourselves around each attempt."""
        return _Inbound(next, self._hook)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, next_: ActivityInboundInterceptor, hook: Hook | None) -> None:
        super().__init__(next_)
        self._hook = hook

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        info = activity.info()
        arg = input.args[0] if input.args else None
        began = time.perf_counter()
        outcome, problem = "canceled", None
        try:
            if self._hook:
                await self._hook(info.activity_type, "before", arg)
            async with _kept_alive(info.heartbeat_timeout):
                result = await self.next.execute_activity(input)
            if self._hook:
                await self._hook(info.activity_type, "after", arg)
            if isinstance(result, Outcome):
                result.attempts = info.attempt
            outcome = "done"
            return result
        except asyncio.CancelledError:
            raise
        except Exception as error:
            translated = translate(error, info.attempt)
            outcome = "refused" if getattr(translated, "non_retryable", False) else "retry"
            problem = f"{type(error).__name__}: {error}"[:500]
            if outcome == "refused" and getattr(translated, "type", "") == "internal":
                _LOG.exception("activity broke", activity=info.activity_type, workflow_id=info.workflow_id)
            if translated is error:
                raise
            raise translated from error
        finally:
            took_s = time.perf_counter() - began
            _SECONDS.labels(info.activity_type, outcome).observe(took_s)
            _LOG.info(
                "activity",
                activity=info.activity_type,
                outcome=outcome,
                took_ms=round(took_s * 1000, 1),
                attempt=info.attempt,
                queue=info.task_queue,
                workflow_id=info.workflow_id,
                run_id=info.workflow_run_id,
                **_subject(arg),
                **({"problem": problem} if problem else {}),
            )


@asynccontextmanager
async def _kept_alive(limit: timedelta | None) -> AsyncIterator[None]:
    if limit is None or limit > ALIVE:
        yield
        return

    async def beat() -> None:
        while True:
            await asyncio.sleep(limit.total_seconds() / 4)
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


def translate(error: Exception, attempt: int) -> Exception:
    """Return what Temporal should make of an activity's error: try again, when, or give it up."""
    if isinstance(error, FailureError):
        return error
    if isinstance(error, PlanebaseError):
        return _of_ours(error)
    words = f"{type(error).__name__}: {error}"[:500]
    match fault(error):
        case Fault.BUSY:
            return ApplicationError(
                words,
                type="busy",
                next_retry_delay=busy_delay(attempt),
                category=ApplicationErrorCategory.BENIGN,
            )
        case Fault.AWAY:
            return ApplicationError(words, type="away")
        case Fault.REFUSED:
            return ApplicationError(words, type="refused", non_retryable=True)
        case Fault.WRONG:
            return ApplicationError(words, type="internal", non_retryable=True)
    if attempt >= _UNKNOWN_ATTEMPTS:
        return ApplicationError(words, type="internal", non_retryable=True)
    return error


def busy_delay(attempt: int) -> timedelta:
    """Return how long to wait for whoever holds the lock: longer each time, never as long as another."""
    longest_s = min(_BUSY_MAX_S, 0.2 * 2 ** min(attempt, 10))
    return timedelta(seconds=random.uniform(longest_s / 2, longest_s))  # noqa: S311


def crash_hook() -> Hook | None:
    """Return a hook that kills this process where PLANEBASE_CRASH_AT says; for tests, and None without it.

    It says `activity:before|after[:nth]`; the starter's own point is called `start`.
    """
    point = os.environ.get("PLANEBASE_CRASH_AT")
    if not point:
        return None
    name, where, nth = (*point.split(":"), "1")[:3]
    left = int(nth)

    async def crash(activity_type: str, place: str, _arg: Any) -> None:
        nonlocal left
        if (activity_type, place) == (name, where):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return crash


def _of_ours(error: PlanebaseError) -> ApplicationError:
    # 503 says "for now": a part is away, or a cache is old.
    for_now = error.status == 503
    delay_s = error.extra.get("retry_after_s") if for_now else None
    return ApplicationError(
        error.detail,
        {"errors": [asdict(each) for each in error.faults]},
        type=error.reason,
        non_retryable=not for_now,
        next_retry_delay=None if delay_s is None else timedelta(seconds=delay_s),
        category=ApplicationErrorCategory.BENIGN,
    )


def _subject(arg: Any) -> dict[str, str]:
    if not isinstance(arg, Subject):
        return {}
    ids = {"operation_id": arg.operation_id, "tenant_id": arg.tenant_id, "base_id": arg.base_id}
    return {name: value for name, value in ids.items() if value}
