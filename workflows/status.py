"""What a run tells people: its steps as a table, and one status that all processes share. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel
from temporalio import exceptions
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

StepState = Literal["waiting", "running", "done", "failed", "canceled"]
_SHOWN = 60
_FAULTS = {
    "internal": "something broke on our side; the run has the details",
    "refused": "the database refused what is there or what was sent; the run has the details",
    "busy": "somebody else held what was needed for too long",
    "away": "a part that was needed did not answer for too long",
}
"""What callers are told of errors that were made for us: no statement, no name of ours, no value."""


class Problem(BaseModel):
    """Why a run failed, in the shape of `operations.error_json`."""

    code: str
    detail: str
    errors: list[dict[str, Any]] = []


class StepStatus(BaseModel):
    """One step, for people."""

    name: str
    state: StepState
    tries: int = 0
    detail: str = ""


class RunStatus(BaseModel):
    """The answer of every run's `status` query."""

    kind: str
    operation_id: str
    tenant_id: str | None
    base_id: str | None
    phase: str
    steps: list[StepStatus]
    percent: int
    needs_human: bool
    error: Problem | None


@dataclass
class Step:
    """One row of the table."""

    name: str
    label: str = ""
    state: StepState = "waiting"
    began_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    detail: str = ""

    def end(self, state: StepState, at: datetime, detail: str = "") -> None:
        """Note how the step ended."""
        self.state, self.ended_at, self.detail = state, at, detail


@dataclass
class Steps:
    """The steps of a run in order, those that are announced included."""

    all: list[Step] = field(default_factory=list)

    def expect(self, names: Iterable[str]) -> None:
        """Announce steps that will come."""
        known = {step.name for step in self.all}
        self.all.extend(Step(name) for name in names if name not in known)

    def begin(self, name: str, label: str, at: datetime) -> Step:
        """Note that a step starts, announced or not."""
        step = next((s for s in self.all if s.name == name and s.state == "waiting"), None)
        if step is None:
            step = Step(name)
            self.all.append(step)
        step.label, step.state, step.began_at = label, "running", at
        return step

    def complete(self) -> None:
        """Drop what was announced and proved unnecessary."""
        self.all = [step for step in self.all if step.state != "waiting"]

    @property
    def percent(self) -> int:
        """How many of the known steps are done, in percent."""
        return 100 * sum(step.state == "done" for step in self.all) // max(1, len(self.all))

    def table(self, phase: str, problem: Problem | None, needs_human: bool) -> str:
        """Return the run's current details in Markdown; a long table shows the part where it is at work."""
        lines = [f"**{phase}** · {self.percent} %"]
        if needs_human:
            lines.append(
                "\n**Needs a person**: tried without success; the step says why, or its pending activity does."
            )
        if problem is not None:
            lines.append(f"\n`{problem.code}` {problem.detail}")
        lines += ["", "| step | state | began | took | tries | detail |", "|---|---|---|---|---|---|"]
        at_work = next((n for n, step in enumerate(self.all) if step.state == "running"), len(self.all))
        first = max(0, min(at_work - _SHOWN // 2, len(self.all) - _SHOWN))
        if first:
            lines.append(f"| … {first} before | | | | | |")
        lines += [_row(step) for step in self.all[first : first + _SHOWN]]
        if len(self.all) > first + _SHOWN:
            lines.append(f"| … {len(self.all) - first - _SHOWN} more | | | | | |")
        return "\n".join(lines)


def problem_of(error: BaseException) -> Problem:
    """Return what a failure means to the caller: the refusal's own words, and of a fault no internals."""
    if is_cancelled_exception(error):
        return Problem(code="canceled", detail="canceled on request")
    step = ""
    while isinstance(error, ActivityError) and error.cause is not None:
        step, error = f"{error.activity_type}: ", error.cause
    if isinstance(error, ApplicationError):
        details = error.details[0] if error.details and isinstance(error.details[0], dict) else {}
        code = error.type or "internal"
        # Our codes are in small letters; anything else is the name of an exception that nobody foresaw.
        if code in _FAULTS or code != code.lower():
            words = _FAULTS.get(code, _FAULTS["internal"])
            return Problem(code=code if code in _FAULTS else "internal", detail=step + words)
        return Problem(code=code, detail=error.message[:500], errors=details.get("errors", []))
    if isinstance(error, exceptions.TimeoutError):
        return Problem(code="timeout", detail=f"{step}not done in time")
    return Problem(code="internal", detail=f"{step}{type(error).__name__}")


def _row(step: Step) -> str:
    began = f"{step.began_at:%H:%M:%S}" if step.began_at else ""
    took = ""
    if step.began_at and step.ended_at:
        took = f"{(step.ended_at - step.began_at).total_seconds():.2f} s"
    tries = str(step.attempts) if step.attempts else ""
    detail = (step.detail or step.label).replace("|", "\\|").replace("\n", " ")[:200]
    return f"| {step.name} | {step.state} | {began} | {took} | {tries} | {detail} |"
