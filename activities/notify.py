"""One notification's delivery: one attempt per call; the run waits between them, for operators to see."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr
from temporalio import activity

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
_CLOSED = "the channel is disabled"


class Notification(Subject):
    """Which notification; what it says, and to whom, stands in its row."""

    notification_id: str


class Deliver(Notification):
    """One attempt, or none (0) to hear how it stands; `delays_s` are the waits before each, else the platform's."""

    attempt: int = 1
    delays_s: list[float] = []


class GiveUp(Notification):
    """Why a notification is not tried again, in a word."""

    reason: str


class Delivered(Outcome):
    """How far a delivery is after `send_attempts` of at most `most` attempts."""

    outcome: Literal["sent", "later", "dead"]
    send_attempts: int
    most: int
    error: str | None = None
    again_in_s: float | None = None
    needs_human: bool = False

    @property
    def tries(self) -> int:
        """The attempts, whichever runs made them."""
        return self.send_attempts


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
        """Make this attempt, unless it was noted before, and say what comes next: each is noted once."""
        delays_s = given.delays_s or self._delays_s
        what, asked_s = await self._found(given), None
        if what.status == "pending" and what.send_attempts < given.attempt:
            asked_s = await self._deliver(what, delays_s)
            what = await self._found(given)
        most = max(len(delays_s), what.send_attempts)
        if what.status == "pending":
            return Delivered(
                outcome="later",
                send_attempts=what.send_attempts,
                most=most,
                error=what.error,
                again_in_s=_again_in_s(delays_s, what, asked_s),
            )
        await self._tell(what, Ulid(given.operation_id))
        return Delivered(
            outcome="dead" if what.status == "dead" else "sent",
            send_attempts=what.send_attempts,
            most=most,
            error=what.error,
            needs_human=what.status == "dead" and what.error != _CLOSED,
        )

    @activity.defn
    async def give_up(self, given: GiveUp) -> None:
        """Send it no more: if it is pending it is dead, and told like any. Repeating it changes nothing."""
        async with self._alarms.begin() as session:
            await notification_writes.give_up(
                session, Ulid(given.notification_id), given.reason, if_disabled=_CLOSED
            )
            what = await notification_writes.delivery(session, Ulid(given.notification_id))
        if what is not None:
            await self._tell(what, Ulid(given.operation_id))

    async def _found(self, given: Deliver) -> Delivery:
        async with self._alarms() as session:
            what = await notification_writes.delivery(session, Ulid(given.notification_id))
        if what is None:
            raise NotFound("there is no such notification")
        return what

    async def _deliver(self, what: Delivery, delays_s: Sequence[float]) -> float | None:
        """Send, and note what it came to; returns the wait that the receiver asks for."""
        result, number = await self._attempt(what), what.send_attempts + 1
        may_again = result.outcome == "failed" and not result.is_gone and number < len(delays_s)
        status: Status = "sent" if result.outcome == "sent" else "pending" if may_again else "dead"
        async with self._alarms.begin() as session:
            await notification_writes.attempted(
                session, what.id, number, result.outcome, status=status, error=result.error
            )
            if result.is_gone and what.channel_id is not None:
                await notification_writes.disable(session, what.channel_id)
        return result.retry_after_s

    async def _tell(self, what: Delivery, operation_id: Ulid) -> None:
        if what.status != "dead":
            await self._alerts.end(
                what.tenant_id, alert.delivery_key(what.channel_id, what.channel), what.created_at
            )
        elif what.error != _CLOSED:
            # Not through the channel that has just failed.
            seen = alert.delivery_failed(what.channel_id, what.channel, what.error or "")
            await self._alerts.raise_(
                what.tenant_id, seen, operation_id, what.created_at, not_to=what.channel_id
            )

    async def _attempt(self, what: Delivery) -> Result:
        if what.is_disabled:
            return Result("refused", _CLOSED)
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


def _again_in_s(delays_s: Sequence[float], what: Delivery, asked_s: float | None) -> float:
    delay_s = notification.next_delay_s(
        delays_s,
        what.send_attempts,
        retry_after_s=asked_s,
        jitter=random.random(),  # noqa: S311
    )
    return max(0.0, (delay_s or 0.0) - (what.since_last_s or 0.0))
