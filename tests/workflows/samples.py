"""A process made for tests of the frame: its steps do nothing but what a test makes of them."""

import asyncio

from pydantic import BaseModel
from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from dataclasses import replace
    from datetime import timedelta

    from activities.shared import Outcome, Subject
    from workflows.options import FAST, LONG
    from workflows.shared import Process, Start, Undo

EAGER = replace(FAST, patience=timedelta(seconds=1))
SLOW = replace(LONG, heartbeat=timedelta(seconds=2))


class SampleActivities:
    """One step that ends at once, one that goes on until it is canceled, one that takes back."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @activity.defn
    async def sample_quick(self, _subject: Subject) -> Outcome:
        """End at once."""
        self.log.append("quick")
        return Outcome()

    @activity.defn
    async def sample_slow(self, _subject: Subject) -> None:
        """Go on, heartbeating, until canceled."""
        try:
            while True:
                activity.heartbeat()
                await asyncio.sleep(0.1)
        finally:
            self.log.append("slow ended")

    @activity.defn
    async def sample_undo(self, _subject: Subject) -> None:
        """Take back, slowly."""
        self.log.append("undo began")
        await asyncio.sleep(0.5)
        self.log.append("undo ended")


class Sampled(BaseModel):
    """What came of it."""

    kind: str


@workflow.defn
class Sample(Process):
    """Quick, then slow if the input says so."""

    @workflow.run
    async def run(self, start: Start) -> Sampled:
        """Do the sample."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> Sampled:
        subject = Subject(**self.subject)
        self.expect("quick", "slow")
        await self.step("quick", SampleActivities.sample_quick, subject, EAGER)
        if self.start.input.get("slow"):
            undo = Undo(SampleActivities.sample_undo, subject)
            await self.step("slow", SampleActivities.sample_slow, subject, SLOW, undo=undo)
        return Sampled(kind=self.start.kind)
