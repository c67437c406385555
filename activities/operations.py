"""The operation's own row, from the run that does its work: begun, how far, ended."""

from typing import Any, Literal

from temporalio import activity

from activities.shared import Outcome, Subject
from core.ids import Ulid
from db.control import operations
from db.sessions import ControlSession
from db.transactions import Sessions


class Begin(Subject):
    """A run says that it has begun; `scheduled` where a Schedule made it, so that no row is there yet."""

    kind: str
    subject_id: str
    workflow_id: str
    run_id: str
    cancelable: bool
    scheduled: bool = False


class Begun(Outcome):
    """Whether there is anything to do: not where the operation is over already."""

    wanted: bool


class Progress(Subject):
    """How far a run is, as `GET /operations/{id}` shows it."""

    step: str
    percent: int
    cancelable: bool


class Failing(Subject):
    """Why a run is about to be undone, as `{code, detail, errors}`."""

    error: dict[str, Any]


class End(Subject):
    """How a run ended; `error` is `{code, detail, errors}`."""

    state: Literal["succeeded", "failed", "canceled"]
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class OperationActivities:
    """The writers of `control.operations`, registered on every queue."""

    def __init__(self, control: Sessions[ControlSession]) -> None:
        self._control = control

    @activity.defn
    async def begin_operation(self, begin: Begin) -> Begun:
        """Note the begin, and say whether the work is still wanted. Repeating it changes nothing."""
        async with self._control.begin() as session:
            if begin.scheduled:
                await operations.insert_running(
                    session,
                    id=Ulid(begin.operation_id),
                    kind=begin.kind,
                    subject_id=begin.subject_id,
                    workflow_id=begin.workflow_id,
                    run_id=begin.run_id,
                    requested_by="schedule",
                    cancelable=begin.cancelable,
                )
            wanted = await operations.begin(session, Ulid(begin.operation_id), cancelable=begin.cancelable)
        return Begun(wanted=wanted)

    @activity.defn
    async def note_progress(self, progress: Progress) -> None:
        """Show how far the run is. Repeating it changes nothing, and an ended row stays as it ended."""
        async with self._control.begin() as session:
            await operations.progress(
                session,
                Ulid(progress.operation_id),
                step=progress.step,
                percent=progress.percent,
                cancelable=progress.cancelable,
            )

    @activity.defn
    async def note_failing(self, failing: Failing) -> None:
        """Say why the run is undone, and shut out steps still on their way. Repeating it changes nothing."""
        async with self._control.begin() as session:
            await operations.failing(session, Ulid(failing.operation_id), failing.error)

    @activity.defn
    async def finish_operation(self, end: End) -> None:
        """End the operation, once; whatever waits behind it may then start. Repeating it changes nothing."""
        async with self._control.begin() as session:
            await operations.finish(
                session, Ulid(end.operation_id), end.state, result=end.result, error=end.error
            )
