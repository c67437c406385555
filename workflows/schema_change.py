"""Apply a schema: every step of the plan done and published, or every step undone."""

from dataclasses import replace
from datetime import timedelta

from pydantic import BaseModel
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.schema_change import Change, StepOf
    from activities.schema_change import SchemaChangeActivities as Do
    from workflows.options import LOCKY
    from workflows.shared import Process, Start, Undo

# Counting a large table or building an index on it takes long; statement timeouts in the database bound each.
STEP = replace(LOCKY, timeout=timedelta(hours=1))


class SchemaChanged(BaseModel):
    """The version that the base is at now, and whether this operation brought it there."""

    version: int
    changed: bool
    steps: int


@workflow.defn
class SchemaChange(Process):
    """Brings a base from its last schema to the desired one."""

    @workflow.run
    async def run(self, start: Start) -> SchemaChanged:
        """Apply the spec of this operation."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> SchemaChanged:
        change = Change(**self.subject)
        self.expect("plan")
        plan = await self.step(
            "plan",
            Do.plan,
            change,
            STEP,
            undo=Undo(Do.abandon, change),
            label="compare with the last version",
        )
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
