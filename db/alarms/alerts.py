"""Alerts and their notifications, as tenants see and handle them."""

from collections.abc import Sequence

from sqlalchemy import func, select, update

from core.ids import Ulid
from db.alarms.models import Alert, Notification
from db.sessions import AlarmsSession

_FRESH = {"populate_existing": True}


async def page(
    session: AlarmsSession,
    tenant_id: Ulid,
    *,
    status: str | None,
    kind: str | None,
    severity: str | None,
    before: Ulid | None,
    limit: int,
) -> Sequence[Alert]:
    """Return a tenant's alerts, newest first, those before `before`."""
    query = select(Alert).where(Alert.tenant_id == tenant_id).order_by(Alert.id.desc()).limit(limit)
    for column, value in ((Alert.status, status), (Alert.kind, kind), (Alert.severity, severity)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(Alert.id < before)
    return (await session.scalars(query)).all()


async def get(session: AlarmsSession, alert_id: Ulid) -> Alert | None:
    """Return one alert."""
    return await session.get(Alert, alert_id)


async def acknowledge(session: AlarmsSession, alert_id: Ulid, by: str) -> Alert | None:
    """Say that somebody has taken an open alert on; None when it is not open. It stays the same alert."""
    query = (
        update(Alert)
        .where(Alert.id == alert_id, Alert.status == "open")
        .values(status="ack", acked_by=by, updated_at=func.now())
        .returning(Alert)
    )
    return await session.scalar(query, execution_options=_FRESH)


async def resolve(session: AlarmsSession, alert_id: Ulid) -> Alert | None:
    """End an alert; None when it is over. Should its cause last, the next detection opens a new one."""
    query = (
        update(Alert)
        .where(Alert.id == alert_id, Alert.status != "resolved")
        .values(status="resolved", resolved_at=func.now(), updated_at=func.now())
        .returning(Alert)
    )
    return await session.scalar(query, execution_options=_FRESH)


async def notifications(
    session: AlarmsSession,
    tenant_id: Ulid,
    *,
    channel: str | None,
    status: str | None,
    alert_id: Ulid | None,
    before: Ulid | None,
    limit: int,
) -> Sequence[Notification]:
    """Return a tenant's notifications, newest first, those before `before`."""
    query = (
        select(Notification)
        .where(Notification.tenant_id == tenant_id)
        .order_by(Notification.id.desc())
        .limit(limit)
    )
    if channel is not None:
        query = query.where(Notification.channel == channel)
    if status is not None:
        query = query.where(Notification.status == status)
    if alert_id is not None:
        query = query.where(Notification.alert_id == alert_id)
    if before is not None:
        query = query.where(Notification.id < before)
    return (await session.scalars(query)).all()


async def notification(session: AlarmsSession, notification_id: Ulid) -> Notification | None:
    """Return one notification."""
    return await session.get(Notification, notification_id)


async def mark_read(session: AlarmsSession, notification_id: Ulid) -> Notification | None:
    """Note that an in-app notification was read; None when it is no such one, or was not sent yet."""
    query = (
        update(Notification)
        .where(
            Notification.id == notification_id,
            Notification.channel == "inapp",
            Notification.status.in_(("sent", "read")),
        )
        .values(status="read")
        .returning(Notification)
    )
    return await session.scalar(query, execution_options=_FRESH)
