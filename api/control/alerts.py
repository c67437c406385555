"""Alerts and notifications: seen, taken on, ended, read."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.control.caller import Caller, Reads, Writer, Writes, missing
from api.control.places import shown
from api.once import Change
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Id, Out, Page, cut
from core import alert as rules
from core.access import Action
from core.errors import Conflict
from core.ids import Ulid
from db.alarms import alerts
from db.alarms.models import Alert, Notification
from db.sessions import ControlSession
from db.transactions import transaction

router = APIRouter(tags=["alerts"])

Medium = Literal["email", "webhook", "slack", "inapp"]


class AlertOut(Out):
    """Something that a tenant should know of."""

    id: Ulid
    tenant_id: Ulid | None
    kind: str
    severity: str
    dedupe_key: str
    status: str
    first_seen_at: datetime
    last_seen_at: datetime
    times_seen: int
    acked_by: str | None
    resolved_at: datetime | None
    context_json: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class AlertPage(Page):
    """A page of alerts, newest first."""

    alerts: list[AlertOut]


class NotificationOut(Out):
    """A message about an alert, and how its delivery went."""

    id: Ulid
    alert_id: Ulid
    channel_id: Ulid | None
    channel: str
    to: str
    status: str
    send_attempts: int
    last_attempt_at: datetime | None
    sent_at: datetime | None
    error: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: Notification) -> "NotificationOut":
        """Return what is shown of a notification: the part of a hook's address that is secret is not."""
        own = {name: getattr(row, name) for name in cls.model_fields if name != "to"}
        return cls(**own, to=shown(row.channel, row.to))


class NotificationPage(Page):
    """A page of notifications, newest first."""

    notifications: list[NotificationOut]


@router.get("/tenants/{tenant_id}/alerts", responses=problems(400, 401, 403, 404, 503))
async def list_alerts(
    tenant_id: Id,
    caller: Reads,
    status: Annotated[rules.Status | None, Query()] = None,
    kind: Annotated[rules.Kind | None, Query()] = None,
    severity: Annotated[rules.Severity | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> AlertPage:
    """List a tenant's alerts, newest first."""
    query = f"alerts {tenant_id} {status} {kind} {severity}"
    before = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.ALERT_READ)
    async with transaction(caller.parts.alarms) as alarms:
        found = await alerts.page(
            alarms,
            place.tenant_id,
            status=status,
            kind=kind,
            severity=severity,
            before=before,
            limit=limit + 1,
        )
    rows, more = cut(found, limit)
    return AlertPage(
        alerts=[AlertOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.get("/alerts/{alert_id}", responses=problems(400, 401, 403, 404, 503))
async def get_alert(alert_id: Id, caller: Reads) -> AlertOut:
    """Show one alert."""
    async with caller.reading() as session:
        return AlertOut.model_validate(await _alert(session, caller, Ulid(alert_id), Action.ALERT_READ))


@router.post(
    "/alerts/{alert_id}/ack",
    response_model=AlertOut,
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def acknowledge_alert(alert_id: Id, caller: Writes) -> Response:
    """Take an alert on: it stays the same one, and is told again only when it gets worse."""
    async with caller.change() as change:
        alert = await _alert(change.session, caller, Ulid(alert_id), Action.ALERT_HANDLE)
        # Before the commit here: should that fail, the call is made again, and finds it done.
        async with transaction(caller.parts.alarms) as alarms:
            done = await alerts.acknowledge(alarms, alert.id, caller.name)
        if done is None and alert.status != "ack":
            raise Conflict(f"this alert is {alert.status}", code="alert_over")
        await _told(caller, change, "ALERT_ACK", done or alert)
    return change.response()


@router.post(
    "/alerts/{alert_id}/resolve",
    response_model=AlertOut,
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def resolve_alert(alert_id: Id, caller: Writes) -> Response:
    """End an alert; should its cause last, the next metering opens a new one. Repeating changes nothing."""
    async with caller.change() as change:
        alert = await _alert(change.session, caller, Ulid(alert_id), Action.ALERT_HANDLE)
        async with transaction(caller.parts.alarms) as alarms:
            done = await alerts.resolve(alarms, alert.id)
        await _told(caller, change, "ALERT_RESOLVE", done or alert)
    return change.response()


@router.get("/tenants/{tenant_id}/notifications", responses=problems(400, 401, 403, 404, 503))
async def list_notifications(
    tenant_id: Id,
    caller: Reads,
    channel: Annotated[Medium | None, Query()] = None,
    status: Annotated[Literal["pending", "sent", "dead", "read"] | None, Query()] = None,
    alert_id: Annotated[Id | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> NotificationPage:
    """List a tenant's notifications, newest first; those for the portal itself have the channel inapp."""
    query = f"notifications {tenant_id} {channel} {status} {alert_id}"
    before = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.NOTIFICATION_READ)
    async with transaction(caller.parts.alarms) as alarms:
        found = await alerts.notifications(
            alarms,
            place.tenant_id,
            channel=channel,
            status=status,
            alert_id=None if alert_id is None else Ulid(alert_id),
            before=before,
            limit=limit + 1,
        )
    rows, more = cut(found, limit)
    return NotificationPage(
        notifications=[NotificationOut.of(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.post(
    "/notifications/{notification_id}/read",
    response_model=NotificationOut,
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def read_notification(notification_id: Id, caller: Writes) -> Response:
    """Note that an in-app notification was read. Repeating it changes nothing."""
    async with caller.change() as change:
        async with transaction(caller.parts.alarms) as alarms:
            row = await alerts.notification(alarms, Ulid(notification_id))
        if row is None or (row.tenant_id is None and caller.user_id is not None):
            raise missing("notification")
        if row.tenant_id is not None:
            await caller.at_tenant(
                change.session, row.tenant_id, Action.NOTIFICATION_READ, what="notification"
            )
        async with transaction(caller.parts.alarms) as alarms:
            read = await alerts.mark_read(alarms, row.id)
        if read is None:
            raise Conflict("only an in-app notification that was sent can be read", code="not_readable")
        if row.tenant_id is not None:
            await caller.tell(
                change,
                "NOTIFICATION_READ",
                tenant_id=row.tenant_id,
                resource=("notification", row.id),
            )
        change.answer(200, NotificationOut.of(read))
    return change.response()


async def _alert(session: ControlSession, caller: Caller, alert_id: Ulid, action: Action) -> Alert:
    async with transaction(caller.parts.alarms) as alarms:
        alert = await alerts.get(alarms, alert_id)
    # The platform's own alerts have no tenant: they are for the portal itself.
    if alert is None or (alert.tenant_id is None and caller.user_id is not None):
        raise missing("alert")
    if alert.tenant_id is not None:
        await caller.at_tenant(session, alert.tenant_id, action, what="alert")
    return alert


async def _told(caller: Writer, change: Change, action: str, alert: Alert) -> None:
    if alert.tenant_id is not None:
        await caller.tell(
            change,
            action,
            tenant_id=alert.tenant_id,
            resource=("alert", alert.id),
            diff={"status": alert.status, "kind": alert.kind},
        )
    change.answer(200, AlertOut.model_validate(alert))
