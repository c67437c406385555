"""The audit, for those who answer for it; reading it is on record too."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, StringConstraints

from api import marks
from api.admin.caller import Reads
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Id, Out, Page, cut
from core.audit import AdminAction, SecurityEvent
from core.ids import Ulid
from db.audit import events
from db.transactions import transaction

router = APIRouter(prefix="/audit", tags=["audit"])

Since = Annotated[AwareDatetime | None, Query(alias="from", description="From this time on.")]
Until = Annotated[AwareDatetime | None, Query(alias="to", description="Before this time.")]
TargetType = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
TargetId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$")]


class AdminEventOut(Out):
    """Something that an operator was about to do, or has done."""

    id: Ulid
    occurred_at: datetime
    actor_admin_id: Ulid | None
    tenant_id: Ulid | None
    workspace_id: Ulid | None
    ip: str | None
    action: str
    target_type: str | None
    target_id: str | None
    request_id: Ulid | None
    details_json: dict[str, Any]


class AdminEventPage(Page):
    """A page of admin events, newest first."""

    events: list[AdminEventOut]


class SecurityEventOut(Out):
    """Something that touches who may enter."""

    id: Ulid
    occurred_at: datetime
    subject_user_id: Ulid | None
    ip: str | None
    type: str
    details_json: dict[str, Any]


class SecurityEventPage(Page):
    """A page of security events, newest first."""

    events: list[SecurityEventOut]


@router.get("/admin-events", name=AdminAction.AUDIT_READ_ADMIN_EVENTS, responses=problems(400, 401, 503))
async def list_admin_events(
    operator: Reads,
    actor_admin_id: Annotated[Id | None, Query()] = None,
    tenant_id: Annotated[Id | None, Query()] = None,
    action: Annotated[AdminAction | None, Query()] = None,
    target_type: Annotated[TargetType | None, Query()] = None,
    target_id: Annotated[TargetId | None, Query()] = None,
    request_id: Annotated[Id | None, Query()] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> AdminEventPage:
    """List what operators did and tried, newest first."""
    equals = {
        "actor_admin_id": actor_admin_id,
        "tenant_id": tenant_id,
        "action": action,
        "target_type": target_type,
        "target_id": target_id,
        "request_id": request_id,
    }
    query = f"admin {[*equals.values(), since, until]}"
    cursors = operator.parts.cursors
    async with transaction(operator.parts.audit) as audit:
        found = await events.admin_events(
            audit,
            equals=equals,
            since=since,
            until=until,
            before=marks.read(cursors, query, cursor),
            limit=limit + 1,
        )
    rows, more = cut(found, limit)
    return AdminEventPage(
        events=[AdminEventOut.model_validate(dict(row)) for row in rows],
        next_cursor=marks.write(cursors, query, rows[-1]) if more else None,
    )


@router.get(
    "/security-events", name=AdminAction.AUDIT_READ_SECURITY_EVENTS, responses=problems(400, 401, 503)
)
async def list_security_events(
    operator: Reads,
    type: Annotated[SecurityEvent | None, Query()] = None,  # noqa: A002  (the parameter's name)
    subject_user_id: Annotated[Id | None, Query()] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> SecurityEventPage:
    """List who entered and who failed to, newest first."""
    equals = {"type": type, "subject_user_id": subject_user_id}
    query = f"security {[*equals.values(), since, until]}"
    cursors = operator.parts.cursors
    async with transaction(operator.parts.audit) as audit:
        found = await events.security_events(
            audit,
            equals=equals,
            since=since,
            until=until,
            before=marks.read(cursors, query, cursor),
            limit=limit + 1,
        )
    rows, more = cut(found, limit)
    return SecurityEventPage(
        events=[SecurityEventOut.model_validate(dict(row)) for row in rows],
        next_cursor=marks.write(cursors, query, rows[-1]) if more else None,
    )
