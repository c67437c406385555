"""Delivering notifications: what is to be sent, and each attempt at it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import text

from core.ids import Ulid
from db.sessions import AlarmsSession

Channel = Literal["email", "webhook", "slack", "inapp"]
AttemptOutcome = Literal["sent", "failed", "refused"]
Status = Literal["pending", "sent", "dead", "read"]


@dataclass(frozen=True)
class Pending:
    """A notification that waits for its delivery."""

    id: Ulid
    tenant_id: Ulid | None


@dataclass(frozen=True)
class Delivery:
    """A notification with what it says, and where it goes."""

    id: Ulid
    tenant_id: Ulid | None
    status: Status
    send_attempts: int
    since_last_s: float | None
    error: str | None
    created_at: datetime
    channel: Channel
    to: str
    channel_id: Ulid | None
    is_disabled: bool
    secret_sealed: str | None
    alert_id: Ulid
    kind: str
    severity: str
    first_seen_at: datetime
    context: dict[str, Any]


async def pending(
    session: AlarmsSession, after: Ulid | None, limit: int, alert_id: Ulid | None = None
) -> list[Pending]:
    """Return undelivered notifications by id, those after `after`; of one alert where it is named."""
    rows = await session.execute(
        text("""
            select id, tenant_id from alarms.notifications
             where status = 'pending' and id > :after
               and (cast(:alert_id as text) is null or alert_id = cast(:alert_id as text))
             order by id limit :limit"""),
        {"after": after or "", "limit": limit, "alert_id": alert_id},
    )
    return [Pending(row.id, row.tenant_id) for row in rows]


async def delivery(session: AlarmsSession, notification_id: Ulid) -> Delivery | None:
    """Return one notification as it is to be sent, or None."""
    row = (
        await session.execute(
            text("""
                select n.id, n.tenant_id, n.status, n.send_attempts, n.error, n.created_at, n.channel, n."to",
                       extract(epoch from now() - n.last_attempt_at)::float8 as since_last_s, n.channel_id,
                       coalesce(c.status = 'disabled', false) as is_disabled, c.secret_sealed,
                       n.alert_id, a.kind, a.severity, a.first_seen_at, a.context_json as context
                  from alarms.notifications n join alarms.alerts a on a.id = n.alert_id
                  left join alarms.channels c on c.id = n.channel_id
                 where n.id = :id"""),
            {"id": notification_id},
        )
    ).one_or_none()
    return None if row is None else Delivery(**row._mapping)


async def attempted(
    session: AlarmsSession,
    notification_id: Ulid,
    number: int,
    outcome: AttemptOutcome,
    *,
    status: Status,
    error: str | None,
) -> None:
    """Note the attempt of this number and what it leaves, once; a delivery that is over stays as it is."""
    await session.execute(
        text("""
            with done as (
              update alarms.notifications
                 set send_attempts = :number, last_attempt_at = now(), status = cast(:status as text),
                     error = cast(:error as text), sent_at = case when cast(:status as text) = 'sent' then now() end
               where id = :id and status = 'pending' and send_attempts = :number - 1 returning id)
            insert into alarms.notification_attempts (notification_id, attempt, outcome, error)
            select id, :number, :outcome, cast(:error as text) from done"""),
        {"id": notification_id, "number": number, "status": status, "outcome": outcome, "error": error},
    )


async def give_up(session: AlarmsSession, notification_id: Ulid, error: str, *, if_disabled: str) -> None:
    """End a delivery without another attempt; one that is over stays as it is.

    The error is `if_disabled` where its channel is closed.
    """
    await session.execute(
        text("""
            update alarms.notifications n
               set status = 'dead',
                   error = case when exists (select from alarms.channels c
                                              where c.id = n.channel_id and c.status = 'disabled')
                                then cast(:if_disabled as text) else cast(:error as text) end
             where n.id = :id and n.status = 'pending'"""),
        {"id": notification_id, "error": error, "if_disabled": if_disabled},
    )


async def disable(session: AlarmsSession, channel_id: Ulid) -> None:
    """Send no more there: its receiver said that it is gone. Repeating it changes nothing."""
    await session.execute(
        text("""
            update alarms.channels set status = 'disabled', updated_at = now()
             where id = :id and status <> 'disabled'"""),
        {"id": channel_id},
    )
