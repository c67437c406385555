"""What happened in a tenant, and which requests were made."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, StringConstraints

from api import marks
from api.control.caller import Reads
from api.paging import Cursor
from api.problems import problems
from api.strict import Id, Out, Page, cut
from core.access import Action
from core.ids import Ulid
from db.activity import events
from db.control import bases
from db.transactions import transaction

router = APIRouter(prefix="/tenants/{tenant_id}", tags=["activity"])

DEFAULT_EVENTS = 50
MAX_EVENTS = 200
EventLimit = Annotated[int, Query(ge=1, le=MAX_EVENTS, description="How many at most.")]
Since = Annotated[AwareDatetime | None, Query(alias="from", description="From this time on.")]
Until = Annotated[AwareDatetime | None, Query(alias="to", description="Before this time.")]
ResourceType = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
EventName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{1,62}$")]


class EventOut(Out):
    """Something that happened."""

    id: Ulid
    occurred_at: datetime
    workspace_id: Ulid | None
    base_id: Ulid | None
    actor_user_id: Ulid | None
    actor_token_id: Ulid | None
    resource_type: str
    resource_id: str
    action: str
    operation_id: Ulid | None
    version: int | None
    diff_json: dict[str, Any]


class EventPage(Page):
    """A page of events, newest first."""

    events: list[EventOut]


class AccessOut(Out):
    """One request to the Data API or to this one, as it was answered; the portal's have no token."""

    id: Ulid
    occurred_at: datetime
    token_id: Ulid | None
    base_id: Ulid | None
    route: str
    method: str
    status: int
    latency_ms: float
    bytes: int
    ip: str | None
    operation_id: Ulid | None


class AccessPage(Page):
    """A page of requests, newest first."""

    requests: list[AccessOut]


@router.get("/activity", responses=problems(400, 401, 403, 404, 503))
async def list_activity(
    tenant_id: Id,
    caller: Reads,
    base_id: Annotated[Id | None, Query()] = None,
    resource_type: Annotated[ResourceType | None, Query()] = None,
    resource_id: Annotated[Id | None, Query()] = None,
    action: Annotated[EventName | None, Query()] = None,
    since: Since = None,
    until: Until = None,
    limit: EventLimit = DEFAULT_EVENTS,
    cursor: Cursor = None,
) -> EventPage:
    """List what happened, newest first: in the acting user's workspaces and to the tenant itself, or all."""
    query = f"activity {[tenant_id, base_id, resource_type, resource_id, action, since, until]}"
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.ACTIVITY_READ)
        workspaces = await caller.workspaces(session, place.tenant_id)
    async with transaction(caller.parts.activity) as activity:
        found = await events.resource_events(
            activity,
            place.tenant_id,
            workspaces=workspaces,
            base_id=None if base_id is None else Ulid(base_id),
            resource_type=resource_type,
            resource_id=resource_id,
            action=action,
            since=since,
            until=until,
            before=marks.read(caller.parts.cursors, query, cursor),
            limit=limit + 1,
        )
    rows, more = cut(found, limit)
    return EventPage(
        events=[EventOut.model_validate(dict(row)) for row in rows],
        next_cursor=marks.write(caller.parts.cursors, query, rows[-1]) if more else None,
    )


@router.get("/access-logs", responses=problems(400, 401, 403, 404, 503))
async def list_access_logs(
    tenant_id: Id,
    caller: Reads,
    token_id: Annotated[Id | None, Query()] = None,
    base_id: Annotated[Id | None, Query()] = None,
    status: Annotated[int | None, Query(ge=100, le=599)] = None,
    since: Since = None,
    until: Until = None,
    limit: EventLimit = DEFAULT_EVENTS,
    cursor: Cursor = None,
) -> AccessPage:
    """List the requests to the Data API and to this one, newest first: to the acting user's bases or to none, or all.

    A request is here within seconds.
    """
    query = f"access {[tenant_id, token_id, base_id, status, since, until]}"
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.ACCESS_LOG_READ)
        workspaces = await caller.workspaces(session, place.tenant_id)
        seen = None if workspaces is None else await bases.ids_in(session, workspaces)
    async with transaction(caller.parts.activity) as activity:
        found = await events.access_logs(
            activity,
            place.tenant_id,
            bases=seen,
            token_id=None if token_id is None else Ulid(token_id),
            base_id=None if base_id is None else Ulid(base_id),
            status=status,
            since=since,
            until=until,
            before=marks.read(caller.parts.cursors, query, cursor),
            limit=limit + 1,
        )
    rows, more = cut(found, limit)
    return AccessPage(
        requests=[AccessOut.model_validate(dict(row)) for row in rows],
        next_cursor=marks.write(caller.parts.cursors, query, rows[-1]) if more else None,
    )
