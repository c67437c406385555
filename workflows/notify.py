"""Deliver one notification: one activity, whose retries carry the waits."""

from dataclasses import replace
from datetime import timedelta

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.notify import Deliver
    from activities.notify import NotifyActivities as Do
    from workflows.options import FAST
    from workflows.shared import Process, Start

# Days may pass between two attempts, and no person is called for that: the alert of a dead delivery does it.
DELIVER = replace(FAST, timeout=timedelta(seconds=45), patience=None)


class Notified(BaseModel):
    """After how many attempts it was sent."""

    notification_id: str
    send_attempts: int


@workflow.defn
class Notify(Process):
    """Delivers one notification, with retries; a delivery that is given up is an alert of its own."""

    @workflow.run
    async def run(self, start: Start) -> Notified:
        """Deliver the notification of this operation."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> Notified:
        self.expect("deliver")
        what = Deliver(
            **self.subject,
            notification_id=self.start.subject_id,
            delays_s=self.start.input.get("delays_s", []),
        )
        delivered = await self.step("deliver", Do.deliver, what, DELIVER)
        if delivered.outcome == "dead":
            raise ApplicationError(
                f"not delivered in {delivered.send_attempts} attempts: {delivered.error or ''}",
                type="delivery_failed",
                non_retryable=True,
            )
        return Notified(notification_id=what.notification_id, send_attempts=delivered.send_attempts)
