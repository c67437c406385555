"""One notification's delivery: one attempt per call, the waits between them in the activity's retries."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities import outgoing
from activities.alert import Alerts
from activities.outgoing import Failed, Mailer, Refused
from activities.shared import Outcome, Subject
from core import alert, notification
from core.errors import NotFound
from core.ids import Ulid
from db.alarms import notification_writes
from db.alarms.notification_writes import AttemptOutcome, Delivery, Status
from db.sessions import AlarmsSession, ControlSession
from db.transactions import Sessions

_ERROR_MAX = 500


class Deliver(Subject):
    """A notification to be delivered; `delays_s` is the wait before each attempt, the platform's if empty."""

    notification_id: str
    delays_s: list[float] = []


class Delivered(Outcome):
    """How a delivery ended, after how many attempts in all."""

    outcome: Literal["sent", "dead"]
    send_attempts: int
    error: str | None = None


@dataclass(frozen=True)
class Result:
    """What one attempt came to."""

    outcome: AttemptOutcome
    error: str | None = None
    retry_after_s: float | None = None
    is_gone: bool = False


class NotifyActivities:
    """Sends by every channel; the row says what was sent, and nothing that was sent is sent again."""

    def __init__(
        self,
        control: Sessions[ControlSession],
        alarms: Sessions[AlarmsSession],
        *,
        mailer: Mailer | None = None,
        secret_key: SecretStr | None = None,
        allow_private: bool = False,
        delays_s: Sequence[float] = notification.DELAYS_S,
    ) -> None:
        self._alarms = alarms
        self._alerts = Alerts(control, alarms)
        self._mailer = mailer
        self._secret_key = secret_key
        self._allow_private = allow_private
        self._delays_s = tuple(delays_s)

    @activity.defn
    async def deliver(self, given: Deliver) -> Delivered:
        """Try once; raises with the wait until the next attempt, and ends with a delivery or a dead letter."""
        async with self._alarms() as session:
            what = await notification_writes.delivery(session, Ulid(given.notification_id))
        if what is None:
            raise NotFound("there is no such notification")
        if what.status != "pending":
            if what.status == "dead":
                await self._tell(what, "dead", Result("failed", what.error), Ulid(given.operation_id))
            return Delivered(outcome=_end(what.status), send_attempts=what.send_attempts)
        result = await self._attempt(what)
        delay_s = None
        if result.outcome == "failed" and not result.is_gone:
            delay_s = notification.next_delay_s(
                given.delays_s or self._delays_s,
                what.send_attempts + 1,
                retry_after_s=result.retry_after_s,
                jitter=random.random(),  # noqa: S311
            )
        status: Status = "sent" if result.outcome == "sent" else "dead" if delay_s is None else "pending"
        async with self._alarms.begin() as session:
            number = await notification_writes.attempted(
                session, what.id, result.outcome, status=status, error=result.error
            )
            if result.is_gone and what.channel_id is not None:
                await notification_writes.disable(session, what.channel_id)
        if delay_s is not None:
            raise ApplicationError(
                f"attempt {what.send_attempts + 1}: {result.error}",
                type="not_delivered",
                next_retry_delay=timedelta(seconds=delay_s),
                category=ApplicationErrorCategory.BENIGN,
            )
        await self._tell(what, status, result, Ulid(given.operation_id))
        return Delivered(outcome=_end(status), send_attempts=number or what.send_attempts, error=result.error)

    async def _tell(self, what: Delivery, status: Status, result: Result, operation_id: Ulid) -> None:
        if status == "sent":
            await self._alerts.end(
                what.tenant_id, alert.delivery_key(what.channel_id, what.channel), what.created_at
            )
            return
        if what.is_disabled:
            return
        # Not through the channel that has just failed.
        seen = alert.delivery_failed(what.channel_id, what.channel, result.error or "")
        await self._alerts.raise_(what.tenant_id, seen, operation_id, what.created_at, not_to=what.channel_id)

    async def _attempt(self, what: Delivery) -> Result:
        if what.is_disabled:
            return Result("refused", "the channel is disabled")
        try:
            match what.channel:
                case "inapp":
                    return Result("sent")
                case "email":
                    return await self._mail(what)
                case "webhook":
                    return await self._webhook(what)
                case "slack":
                    return await self._slack(what)
        except Refused as error:
            return Result("refused", str(error)[:_ERROR_MAX])
        except Failed as error:
            return Result("failed", str(error)[:_ERROR_MAX])

    async def _mail(self, what: Delivery) -> Result:
        if self._mailer is None:
            return Result("refused", "no mail server is set")
        text = "\n".join(notification.lines(what.kind, what.severity, what.context))
        await self._mailer.send(what.id, what.to, notification.title(what.kind, what.severity), text)
        return Result("sent")

    async def _webhook(self, what: Delivery) -> Result:
        body = json.dumps(
            {
                "type": "alert.opened",
                "timestamp": what.created_at.isoformat(),
                "data": {
                    "notification_id": what.id,
                    "alert_id": what.alert_id,
                    "tenant_id": what.tenant_id,
                    "kind": what.kind,
                    "severity": what.severity,
                    "first_seen_at": what.first_seen_at.isoformat(),
                    "context": what.context,
                },
            }
        ).encode()
        return await self._post(what, body, outgoing.signed(what.id, body, self._secret(what)))

    async def _slack(self, what: Delivery) -> Result:
        body = json.dumps({"text": "\n".join(notification.lines(what.kind, what.severity, what.context))})
        return await self._post(what, body.encode(), {"Content-Type": "application/json"})

    async def _post(self, what: Delivery, body: bytes, headers: dict[str, str]) -> Result:
        answer = await outgoing.post(what.to, body, headers, allow_private=self._allow_private)
        match notification.verdict(answer.status):
            case "sent":
                return Result("sent")
            case "gone":
                return Result("failed", "the receiver answered 410: gone", is_gone=True)
            case _:
                wait_s = notification.retry_after_s(answer.status, answer.retry_after)
                return Result("failed", f"the receiver answered {answer.status}", wait_s)

    def _secret(self, what: Delivery) -> str | None:
        if what.secret_sealed is None:
            return None
        if self._secret_key is None:
            raise Refused("the worker has no key to open the channel's secret with")
        try:
            return Fernet(self._secret_key.get_secret_value()).decrypt(what.secret_sealed).decode()
        except (InvalidToken, ValueError) as error:
            raise Refused("the channel's secret was sealed under another key") from error


def _end(status: Status) -> Literal["sent", "dead"]:
    return "dead" if status == "dead" else "sent"
