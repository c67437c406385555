"""Deliver one notification: an activity for each attempt, and timers of the run between them."""

from dataclasses import replace
from datetime import timedelta

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.notify import Deliver, Delivered, GiveUp
    from activities.notify import NotifyActivities as Do
    from workflows.options import FAST
    from workflows.shared import Again, Process, Start, Undo
    from workflows.status import Problem

# Somebody else's server has its own time to answer.
DELIVER = replace(FAST, timeout=timedelta(seconds=45))


class Notified(BaseModel):
    """After how many attempts it was sent."""

    notification_id: str
    send_attempts: int


@workflow.defn
class Notify(Process):
    """Delivers one notification, with retries, or gives it up, also after a termination: an alert of its own."""

    @workflow.run
    async def run(self, start: Start) -> Notified:
        """Deliver the notification of this operation."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> Notified:
        self.expect("deliver")
        number, label = (1, "first attempt") if self.start.left is None else (0, "was it sent?")
        # Nobody queues it again, so nothing may stay pending.
        delivered = await self.step(
            "deliver",
            Do.deliver,
            self._nth(number),
            DELIVER,
            undo=Undo(Do.give_up, self._given_up),
            label=label,
            again=self._again,
        )
        return Notified(notification_id=self.start.subject_id, send_attempts=delivered.send_attempts)

    def _nth(self, number: int) -> Deliver:
        return Deliver(
            **self.subject,
            notification_id=self.start.subject_id,
            attempt=number,
            delays_s=self.start.input.get("delays_s", []),
        )

    def _given_up(self, problem: Problem) -> GiveUp:
        return GiveUp(**self.subject, notification_id=self.start.subject_id, reason=problem.code)

    def _again(self, last: Delivered) -> Again[Deliver] | None:
        if last.outcome == "sent":
            return None
        if (left := self.start.left) is not None:
            raise ApplicationError(
                f"{left.detail}; the notification is not tried again", type=left.code, non_retryable=True
            )
        if last.outcome == "dead":
            self.nothing_to_undo()
            if last.needs_human:
                self.leave_to_a_human()
            raise ApplicationError(
                f"not delivered in {last.send_attempts} attempts: {last.error or ''}",
                type="delivery_failed",
                non_retryable=True,
            )
        # A fresh run asks for the first attempt again, and hears how many were made and when the next is due.
        self.continue_if_long(done=0)
        following = last.send_attempts + 1
        return Again(
            self._nth(following),
            wait=timedelta(seconds=last.again_in_s or 0),
            label=f"attempt {following} of {last.most}",
            why=f"attempt {last.send_attempts} failed: {last.error}",
        )
