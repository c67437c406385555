"""The frame of every durable process: typed start, steps that operators can read, undo, one end.

    @workflow.defn
    class Refill(Process):
        '''Take a payment and credit it: both or neither.'''

        @workflow.run
        async def run(self, start: Start) -> Receipt:
            return await self.carry_out(start, self._work)      # begins and ends the operation's row

        async def _work(self) -> Receipt:
            self.expect("charge", "credit")                     # the table and the percent know what comes
            order = Order(**self.subject, amount_cents=self.start.input["amount_cents"])
            paid = await self.step("charge", Do.charge, order, EXT, undo=Undo(Do.refund, order))
            self.no_return()                                    # from here on it is done, whatever comes
            return await self.step("credit", Do.credit, paid)

`Do` is the class of activities; all of ours is imported within `workflow.unsafe.imports_passed_through()`.
A failed or canceled run undoes its steps in reverse, then ends its row, then itself: it is red in the UI.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    FailureError,
    is_cancelled_exception,
)

from activities.operations import Begin, End, Failing, OperationActivities, Progress
from core import ids
from workflows.options import FAST, LOCAL, NOTE, Options
from workflows.status import Problem, RunStatus, Step, Steps, StepState, StepStatus, problem_of

A = TypeVar("A")
R = TypeVar("R")

OPERATION_ID = SearchAttributeKey.for_keyword("OperationId")
PHASE = SearchAttributeKey.for_keyword("Phase")
NEEDS_HUMAN = SearchAttributeKey.for_bool("NeedsHuman")
SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")

AGAIN = timedelta(minutes=1)
"""How long a run waits, marked NeedsHuman, before it tries again what must succeed and was refused."""


class Start(BaseModel):
    """The input of every workflow. A Schedule's has no operation id: it follows from the scheduled time."""

    operation_id: str = ""
    kind: str
    subject_id: str
    tenant_id: str | None = None
    base_id: str | None = None
    input: dict[str, Any] = {}
    done: int = 0
    """How many steps earlier runs of this process (before a continue-as-new) have finished."""
    left: Problem | None = None
    """How an earlier run of this operation was ended from outside: this one clears up behind it."""
    longest_history: int = 4_000
    """How many events a run may have before it goes on in another; here, so that each run keeps its own."""


@dataclass(frozen=True)
class Undo:
    """What takes a step back. It is safe when the step never ran; `arg` may be made from the failure."""

    activity: Callable[[Any, Any], Awaitable[Any]]
    arg: Any | Callable[[Problem], Any]
    options: Options = FAST


@dataclass(frozen=True)
class Again(Generic[A]):
    """The next try of a step: with what, after which wait, and why the last one was not enough."""

    arg: A
    wait: timedelta
    label: str
    why: str


async def run_to_end(coro: Coroutine[Any, Any, R]) -> R:
    """Finish `coro` even when cancels arrive meanwhile; then raise its failure, else the cancel."""
    task, hit = asyncio.create_task(coro), None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.done():
                raise
            hit = error
    result = task.result()
    if hit:
        raise hit
    return result


class Process:
    """The base of every workflow class: a run is done entirely, or undone, and its row says which."""

    CANCELABLE: ClassVar[bool] = True

    def __init__(self) -> None:
        self.start = Start(kind="", subject_id="")
        self._steps = Steps()
        self._undos: list[tuple[str, Undo]] = []
        self._phase = "starting"
        self._can_cancel = self.CANCELABLE
        self._cancel_asked = False
        self._past_return = False
        self._needs_human = False
        self._stays_human = False
        self._problem: Problem | None = None
        self._running: workflow.ActivityHandle[Any] | None = None

    # For the subclass ------------------------------------------------------------------------------------

    @property
    def subject(self) -> dict[str, Any]:
        """The head of an activity's input (`activities/shared.py:Subject`)."""
        return {
            "operation_id": self.start.operation_id,
            "tenant_id": self.start.tenant_id,
            "base_id": self.start.base_id,
        }

    def expect(self, *names: str) -> None:
        """Announce the steps that will come, so that the table and the percent know them."""
        self._steps.expect(names)
        self._show()

    def no_return(self) -> None:
        """From here on the run goes through to its end: no cancel is obeyed, a refused step is tried again.

        While a step past this point is refused, a person is called (NeedsHuman).
        """
        self._raise_if_canceled()
        self._can_cancel, self._past_return = False, True

    def leave_to_a_human(self) -> None:
        """Mark this run as one that a person has to look at, also when it is over."""
        self._stays_human = True
        self._call_a_human(True)

    async def step(
        self,
        name: str,
        activity: Callable[[Any, A], Awaitable[R]],
        arg: A,
        options: Options = FAST,
        *,
        undo: Undo | None = None,
        label: str = "",
        again: Callable[[R], Again[A] | None] | None = None,
    ) -> R:
        """Run one step and show it; `undo` is remembered before it starts, for a step may fail half-way.

        A step that a cancel keeps from starting is undone, too: what asked for the run may have left something.
        `again` looks at what came of each try: it asks for the next one, whose wait is shown, or raises.
        """
        if undo is not None:
            self._undos.append((name, undo))
        self._raise_if_canceled()
        entry = self._steps.begin(name, label, workflow.now())
        await self._note(name, phase=name.partition(" ")[0])
        try:
            self._raise_if_canceled()
            result = await self._try(entry, activity, arg, options)
            while again is not None and (following := again(result)) is not None:
                await self._wait_for(entry, following)
                result = await self._try(entry, activity, following.arg, options)
        except (FailureError, asyncio.CancelledError) as error:
            state: StepState = "canceled" if self._cancel_asked else "failed"
            entry.end(state, workflow.now(), problem_of(error).detail)
            self._show()
            raise
        entry.end("done", workflow.now())
        self._show()
        self._raise_if_canceled()
        return result

    def skip(self, name: str, *, undo: Undo | None = None, label: str = "") -> None:
        """Count a step as done that an earlier run of this process did, before it continued as new."""
        self._steps.begin(name, label, workflow.now()).end("done", workflow.now(), "by the run before")
        if undo is not None:
            self._undos.append((name, undo))

    def may_have_done(self, name: str, undo: Undo) -> None:
        """Remember to take back a step before it is begun: what it takes back may be there already."""
        self._undos.append((name, undo))

    def nothing_to_undo(self) -> None:
        """Take nothing back when the run fails from here on: its failure is an end that the steps have noted."""
        self._undos.clear()

    def continue_if_long(self, done: int) -> None:
        """Go on in a fresh run when this one's history is long; call it between steps, `done` of them over."""
        if workflow.info().get_current_history_length() > self.start.longest_history:
            workflow.continue_as_new(self.start.model_copy(update={"done": done}))

    async def carry_out(self, start: Start, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Begin the operation, do `work`, and end it; when that fails or is canceled, undo, and then fail.

        A run that clears up behind another goes through to its end: a cancel would leave what it came for.
        """
        self.start = self._resolved(start)
        self._can_cancel = self.CANCELABLE and start.left is None
        try:
            await run_to_end(self._begin())
        except asyncio.CancelledError:
            self._cancel_asked = True
        try:
            result = await self._until_canceled(work())
        except (FailureError, asyncio.CancelledError) as error:
            # A cancel that comes during the undo changes nothing: the run is ending already.
            await _deaf(self._settle(problem_of(error)))
            if self._cancel_asked and self._can_cancel:
                raise asyncio.CancelledError from error
            raise
        await _deaf(self._end(End(**self.subject, state="succeeded", result=_plain(result))))
        return result

    @workflow.query
    def status(self) -> RunStatus:
        """Return where the run stands, in the one shape that all processes share."""
        return RunStatus(
            kind=self.start.kind,
            operation_id=self.start.operation_id,
            tenant_id=self.start.tenant_id,
            base_id=self.start.base_id,
            phase=self._phase,
            steps=[
                StepStatus(name=e.name, state=e.state, tries=e.attempts, detail=e.detail or e.label)
                for e in self._steps.all
            ],
            percent=self._steps.percent,
            needs_human=self._needs_human,
            error=self._problem,
        )

    # The frame --------------------------------------------------------------------------------------------

    def _resolved(self, start: Start) -> Start:
        if start.operation_id:
            return start
        at = workflow.info().typed_search_attributes.get(SCHEDULED_AT) or workflow.info().start_time
        made = ids.derived(int(at.timestamp() * 1000), workflow.info().workflow_id, start.kind)
        return start.model_copy(update={"operation_id": made})

    async def _begin(self) -> None:
        info = workflow.info()
        scheduled = info.typed_search_attributes.get(OPERATION_ID) is None
        if scheduled:
            workflow.upsert_search_attributes([OPERATION_ID.value_set(self.start.operation_id)])
        begun = await self._execute(
            OperationActivities.begin_operation,
            Begin(
                **self.subject,
                kind=self.start.kind,
                subject_id=self.start.subject_id,
                workflow_id=info.workflow_id,
                run_id=info.run_id,
                cancelable=self._can_cancel,
                scheduled=scheduled,
            ),
            LOCAL,
            "begin",
        )
        if not begun.wanted:
            raise ApplicationError(
                f"operation {self.start.operation_id} is over already",
                type="operation_over",
                non_retryable=True,
                category=ApplicationErrorCategory.BENIGN,
            )

    async def _until_canceled(self, work: Coroutine[Any, Any, R]) -> R:
        """Turn a cancel into a flag that `step` obeys between steps, so that none is left half awaited."""
        task = asyncio.create_task(work)
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.done():
                    break
                self._cancel_asked = True
                if self._can_cancel and self._running is not None:
                    self._running.cancel()
        return task.result()

    def _raise_if_canceled(self) -> None:
        if self._cancel_asked and self._can_cancel:
            raise asyncio.CancelledError

    async def _try(
        self, entry: Step, activity: Callable[[Any, A], Awaitable[R]], arg: A, options: Options
    ) -> R:
        if self._past_return:
            result = await self._insist(entry, activity, arg, options)
        else:
            result = await self._execute(activity, arg, options, entry.label or entry.name)
        entry.attempts = getattr(result, "tries", 1)
        return result

    async def _wait_for(self, entry: Step, following: Again[Any]) -> None:
        due = workflow.now() + following.wait
        entry.label = following.label
        entry.detail = f"{following.label} at {due:%Y-%m-%d %H:%M:%S} UTC; {following.why}"
        await self._note(f"{entry.name}: {entry.detail}", phase=self._phase)
        if following.wait > timedelta(0):
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._cancel_asked and self._can_cancel,
                    timeout=following.wait,
                    timeout_summary=following.label,
                )
        self._raise_if_canceled()
        entry.detail = f"{following.label} under way; {following.why}"
        self._show()

    async def _execute(
        self, activity: Callable[[Any, A], Awaitable[R]], arg: A, options: Options, summary: str
    ) -> R:
        if not options.local:
            return await self._attempt(activity, arg, options, summary)
        try:
            return await self._attempt(activity, arg, options, summary)
        except FailureError as error:
            # A local activity's own failure comes as it is, a remote one's inside an ActivityError.
            own = error.cause if isinstance(error, ActivityError) else error
            if is_cancelled_exception(error) or getattr(own, "non_retryable", False):
                raise
        return await self._attempt(activity, arg, FAST, summary)

    async def _attempt(
        self, activity: Callable[[Any, A], Awaitable[R]], arg: A, options: Options, summary: str
    ) -> R:
        handle = options.start(activity, arg, summary)
        self._running = handle
        impatient = False
        try:
            if options.patience is not None:
                try:
                    await workflow.wait_condition(handle.done, timeout=options.patience)
                except TimeoutError:
                    impatient = True
                    self._call_a_human(True)
            return await handle
        finally:
            self._running = None
            if impatient:
                self._call_a_human(False)

    async def _insist(
        self, entry: Step, activity: Callable[[Any, A], Awaitable[R]], arg: A, options: Options
    ) -> R:
        """Run an activity until it works; while it is refused, the run says that it needs a person."""
        while True:
            try:
                result = await self._execute(activity, arg, options, entry.label or entry.name)
            except FailureError as error:
                entry.detail = problem_of(error).detail
                self._call_a_human(True)
                await self._note(f"{entry.name}: needs a person", phase=self._phase)
                await workflow.sleep(AGAIN)
            else:
                self._call_a_human(False)
                return result

    async def _note(self, step: str, *, phase: str) -> None:
        """Show a change of step: in the UI, in the search attributes and, if it can be had, in our row."""
        if phase != self._phase:
            self._phase = phase
            workflow.upsert_search_attributes([PHASE.value_set(phase)])
        self._show()
        note = Progress(**self.subject, step=step, percent=self._steps.percent, cancelable=self._can_cancel)
        try:
            await NOTE.start(OperationActivities.note_progress, note, f"note: {step}")
        except FailureError:
            workflow.logger.info("progress not noted", extra={"step": step})

    async def _settle(self, problem: Problem) -> None:
        canceled = self._cancel_asked and self._can_cancel
        self._problem = problem
        failing = Failing(**self.subject, error=problem.model_dump())
        await self._execute(OperationActivities.note_failing, failing, LOCAL, f"failing: {problem.code}")
        for name, undo in reversed(self._undos):
            arg = undo.arg(problem) if callable(undo.arg) else undo.arg
            entry = self._steps.begin(f"undo {name}", "", workflow.now())
            await self._note(entry.name, phase="undo")
            await self._insist(entry, undo.activity, arg, undo.options)
            entry.end("done", workflow.now())
        state: Literal["canceled", "failed"] = "canceled" if canceled else "failed"
        await self._end(End(**self.subject, state=state, error=problem.model_dump()))

    async def _end(self, end: End) -> None:
        # The work is done or undone by now, so that nothing is left to do but to say so.
        await self._insist(Step("end"), OperationActivities.finish_operation, end, LOCAL)
        self._phase = end.state
        workflow.upsert_search_attributes([PHASE.value_set(end.state)])
        if end.state == "succeeded":
            self._steps.complete()
        self._show()

    def _call_a_human(self, needed: bool) -> None:
        needed = needed or self._stays_human
        if needed != self._needs_human:
            self._needs_human = needed
            workflow.upsert_search_attributes([NEEDS_HUMAN.value_set(needed)])
            self._show()

    def _show(self) -> None:
        workflow.set_current_details(self._steps.table(self._phase, self._problem, self._needs_human))


async def _deaf(coro: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await run_to_end(coro)


def _plain(result: Any) -> dict[str, Any] | None:
    return result.model_dump(mode="json", exclude={"attempts"}) if isinstance(result, BaseModel) else result
