"""The starter: turns rows of `control.operations` into runs; one at a time, whatever dies in between."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import structlog
from prometheus_client import Counter, Gauge
from pydantic import SecretStr
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHistoryEventFilterType,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from core.ids import Ulid
from db import engines
from db.control import queue
from db.control.queue import Queued
from db.faults import fault
from workers.interceptors import Hook, crash_hook
from workers.temporal import TASK_TIMEOUT, TemporalAway, is_away
from workflows.registry import KINDS, Kind, attributes_of, details_of, summary_of
from workflows.shared import OPERATION_ID, Start
from workflows.status import Problem

_POLL_S = 1.0
_SWEEP_S = 10.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_CLAIMS_PER_PASS = 50
_PAGE = 200
_CLOSING_S = 1.0

_LOG = structlog.get_logger("worker.starter")
_STARTED = Counter("planebase_operations_started", "Runs started", ["kind"])
_SWEPT = Counter("planebase_operations_swept", "Rows ended for runs that had ended", ["kind", "state"])
_QUEUED = Gauge("planebase_operations_queued", "Operations that wait")

_ENDS: dict[WorkflowExecutionStatus, tuple[Literal["failed", "canceled"], str, str]] = {
    WorkflowExecutionStatus.TERMINATED: ("failed", "terminated", "the run was terminated"),
    WorkflowExecutionStatus.CANCELED: ("canceled", "canceled", "the run was canceled"),
    WorkflowExecutionStatus.TIMED_OUT: ("failed", "timed_out", "the run took longer than it may"),
    WorkflowExecutionStatus.FAILED: ("failed", "internal", "the run failed without saying why"),
    WorkflowExecutionStatus.COMPLETED: ("failed", "internal", "the run ended without saying how"),
}


class Starter:
    """Starts what is queued and sweeps what ended unheard, while it holds the starter's lock."""

    def __init__(
        self,
        control_dsn: SecretStr,
        client: Client,
        *,
        poll_s: float = _POLL_S,
        sweep_s: float = _SWEEP_S,
        hook: Hook | None = None,
    ) -> None:
        self._dsn = control_dsn
        self._client = client
        self._poll_s = poll_s
        self._sweep_s = sweep_s
        self._hook = hook or crash_hook()
        self._wake = asyncio.Event()
        self._swept_to = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; a database or a Temporal that is away is waited for."""
        pause_s = _FIRST_PAUSE_S
        while not stop.is_set():
            try:
                conn = await engines.connect(self._dsn)
                pause_s = _FIRST_PAUSE_S
                try:
                    await self._hold(conn, stop)
                finally:
                    with suppress(Exception):
                        await conn.close(timeout=1)
            except Exception as error:
                if fault(error) is None:
                    raise
                _LOG.warning("control database is away", problem=f"{type(error).__name__}: {error}"[:300])
                await self._rest(stop, pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _hold(self, conn: engines.Connection, stop: asyncio.Event) -> None:
        await conn.add_listener("operations", lambda *_: self._wake.set())
        while not await queue.become_starter(conn):
            await self._rest(stop, self._poll_s)
            if stop.is_set():
                return
        _LOG.info("starter at work")
        loop, next_sweep, pause_s = asyncio.get_running_loop(), 0.0, self._poll_s
        while not stop.is_set():
            self._wake.clear()
            try:
                if loop.time() >= next_sweep:
                    await self.sweep(conn)
                    next_sweep = loop.time() + self._sweep_s
                more = await self.start_queued(conn, stop)
            except TemporalAway as error:
                _LOG.warning("temporal is away", problem=str(error))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                await self._rest(stop, pause_s)
                continue
            pause_s = self._poll_s
            _QUEUED.set(await queue.depth(conn))
            if not more:
                await self._rest(stop, self._poll_s, self._wake)

    async def start_queued(self, conn: engines.Connection, stop: asyncio.Event) -> bool:
        """Start what may run, a bounded number at once; tells whether there may be more."""
        for _ in range(_CLAIMS_PER_PASS):
            if stop.is_set():
                return False
            claimed = await queue.claim(conn, list(KINDS))
            if claimed is None:
                return False
            await self._start(conn, claimed)
        return True

    async def sweep(self, conn: engines.Connection) -> None:
        """Start what was claimed and has no run; end or clear up what says `running` and whose run has ended."""
        # Only this connection claims, and it is not claiming now: what has no run was left behind.
        for claimed in await queue.unstarted(conn, _PAGE):
            await self._start(conn, claimed)
        rows = await queue.under_way(conn, self._swept_to, _PAGE)
        self._swept_to = rows[-1].id if len(rows) == _PAGE else ""
        for row in rows:
            await self._compare(conn, row)

    async def _start(self, conn: engines.Connection, row: Queued) -> None:
        kind = KINDS.get(row.kind)
        if kind is None:
            return
        start = Start(
            operation_id=row.id,
            kind=row.kind,
            subject_id=row.subject_id,
            tenant_id=row.tenant_id,
            base_id=row.base_id,
            input={} if kind.private else row.input,
            left=Problem.model_validate(row.error) if kind.clears_up and row.error else None,
        )
        workflow_id = kind.id_of(start)
        if self._hook:
            await self._hook("start", "before", start)
        try:
            run_id = await self._start_run(kind, start, workflow_id, row)
        except RPCError as error:
            if not is_away(error):
                await self._refused(conn, row, error)
                return
            await queue.put_back(conn, row.id, 0)
            raise TemporalAway(str(error)) from error
        except RuntimeError as error:  # what a lazy client says before its first connection
            await queue.put_back(conn, row.id, 0)
            raise TemporalAway(str(error)) from error
        if self._hook:
            await self._hook("start", "after", start)
        if run_id is None:
            # Its forerunner has ended its row and is about to end itself.
            await queue.put_back(conn, row.id, _CLOSING_S)
            return
        await queue.started(conn, row.id, workflow_id, run_id)
        _STARTED.labels(row.kind).inc()
        _LOG.info(
            "operation started",
            operation_id=row.id,
            kind=row.kind,
            tenant_id=row.tenant_id,
            workflow_id=workflow_id,
            run_id=run_id,
        )

    async def _start_run(self, kind: Kind, start: Start, workflow_id: str, row: Queued) -> str | None:
        """Start the run, or find it running already; None when another operation's run has its id."""
        try:
            handle = await self._client.start_workflow(
                kind.workflow,
                start,
                id=workflow_id,
                task_queue=kind.queue,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                task_timeout=TASK_TIMEOUT,
                search_attributes=attributes_of(start),
                static_summary=summary_of(kind, start, row.input),
                static_details=details_of(kind, start, row.requested_by),
                memo={"requested_by": row.requested_by, "queued_at": row.created_at.isoformat()},
            )
        except WorkflowAlreadyStartedError:
            found = await self._describe(workflow_id)
            return found.run_id if found and _is_of(found, row.id) else None
        return handle.first_execution_run_id

    async def _refused(self, conn: engines.Connection, row: Queued, error: RPCError) -> None:
        _LOG.error("operation cannot be started", operation_id=row.id, kind=row.kind, problem=error.message)
        await queue.settle(conn, row.id, "failed", _problem("not_startable", error.message))

    async def _compare(self, conn: engines.Connection, row: Queued) -> None:
        workflow_id = row.workflow_id or ""
        found = await self._describe(workflow_id, row.run_id)
        if found and found.status == WorkflowExecutionStatus.CONTINUED_AS_NEW:
            latest = await self._describe(workflow_id)
            if latest and _is_of(latest, row.id):
                found = latest
                # Whoever cancels the operation asks the run that is alive.
                await queue.started(conn, row.id, workflow_id, latest.run_id)
        if found is None:
            end: tuple[Literal["failed", "canceled"], str, str]
            end = ("failed", "run_lost", "Temporal does not know the run any more")
        elif found.status is None or found.status not in _ENDS:
            return
        else:
            end = _ENDS[found.status]
        state, code, words = end
        if found is not None:
            words += await self._reason(workflow_id, found.run_id)
        problem = _problem(code, words)
        # A run ends its row before itself: only one that was ended from outside leaves it `running`.
        kind = KINDS.get(row.kind)
        if kind is not None and kind.clears_up:
            if await queue.leave(conn, row.id, row.run_id or "", problem):
                _SWEPT.labels(row.kind, "left").inc()
                _LOG.warning("operation is cleared up", operation_id=row.id, kind=row.kind, problem=words)
                await self._start(conn, replace(row, run_id=None, error=problem))
        elif await queue.settle(conn, row.id, state, problem):
            _SWEPT.labels(row.kind, state).inc()
            _LOG.warning("operation swept", operation_id=row.id, kind=row.kind, state=state, problem=words)

    async def _describe(
        self, workflow_id: str, run_id: str | None = None
    ) -> WorkflowExecutionDescription | None:
        try:
            return await self._client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise TemporalAway(str(error)) from error
        except RuntimeError as error:
            raise TemporalAway(str(error)) from error

    async def _reason(self, workflow_id: str, run_id: str) -> str:
        """What whoever ended the run said, where they did; worth one try."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        with suppress(RPCError, RuntimeError):
            async for event in handle.fetch_history_events(
                event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
            ):
                ended = event.workflow_execution_terminated_event_attributes
                failed = event.workflow_execution_failed_event_attributes
                said = ended.reason or failed.failure.message
                return f": {said}"[:300] if said else ""
        return ""

    async def _rest(self, stop: asyncio.Event, seconds: float, *others: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, *others)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _is_of(found: WorkflowExecutionDescription, operation_id: Ulid) -> bool:
    return found.typed_search_attributes.get(OPERATION_ID) == operation_id


def _problem(code: str, detail: str) -> dict[str, Any]:
    return {"code": code, "detail": detail, "errors": []}
