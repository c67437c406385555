"""Apply a schema: every step of the plan done and published, or every step undone."""

from dataclasses import replace
from datetime import timedelta

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.schema_change import Change, StepOf
    from activities.schema_change import SchemaChangeActivities as Do
    from workflows.options import LOCKY
    from workflows.shared import Process, Start, Undo
    from workflows.status import Problem, problem_of

# Counting a large table or building an index on it takes long; statement timeouts in the database bound each.
STEP = replace(LOCKY, timeout=timedelta(hours=1))
_STUCK = "half_applied"


class SchemaChanged(BaseModel):
    """The version that the base is at now, and whether this operation brought it there."""

    version: int
    changed: bool
    steps: int


@workflow.defn
class SchemaChange(Process):
    """Brings a base from its last schema to the desired one; what was begun is finished, also after a termination."""

    @workflow.run
    async def run(self, start: Start) -> SchemaChanged:
        """Apply the spec of this operation."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> SchemaChanged:
        change = Change(**self.subject)
        if self.start.left is not None:
            return await self._clear_up(change, self.start.left)
        self.expect("plan")
        try:
            plan = await self.step(
                "plan",
                Do.plan,
                change,
                STEP,
                undo=Undo(Do.abandon, change),
                label="compare with the last version",
            )
        except FailureError as error:
            if problem_of(error).code == _STUCK:
                self.leave_to_a_human()
            raise
        if not plan.labels:
            return SchemaChanged(version=plan.version, changed=False, steps=0)
        self.expect(*(f"apply {n}" for n in range(len(plan.labels))), "publish")
        for n, label in enumerate(plan.labels):
            step = StepOf(**self.subject, step=n)
            undo = Undo(Do.undo_step, step, STEP)
            if n == plan.point_of_no_return:
                self.no_return()
            if n < self.start.done:  # by the run before this one
                self.skip(f"apply {n}", undo=undo, label=label)
                continue
            self.continue_if_long(done=n)
            await self.step(f"apply {n}", Do.apply_step, step, STEP, undo=undo, label=label)
        if plan.point_of_no_return == len(plan.labels):
            self.no_return()
        await self.step("publish", Do.publish, change, STEP, label=f"version {plan.version}")
        return SchemaChanged(version=plan.version, changed=True, steps=len(plan.labels))

    async def _clear_up(self, change: Change, left: Problem) -> SchemaChanged:
        """After a run that was ended from outside: what it had begun is finished, for clients may write to it."""
        self.no_return()
        self.expect("settle")
        settled = await self.step("settle", Do.settle, change, STEP, label="finish what was begun")
        if settled.state == "applied":
            return SchemaChanged(version=settled.version, changed=settled.steps > 0, steps=settled.steps)
        if settled.state == "stuck":
            self.leave_to_a_human()
            raise ApplicationError(settled.reason, type=_STUCK, non_retryable=True)
        what = "nothing had been changed" if settled.state == "none" else "what it had changed was undone"
        raise ApplicationError(f"{left.detail}; {what}", type=left.code, non_retryable=True)
