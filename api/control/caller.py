"""Who calls the Control API: the portal, for itself or for a user, whose role then decides."""

import contextlib
import hmac
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import Depends, Header, Request
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.edge import Trace
from api.once import Change, Key, Once, begun_at, hash_of, trace_of
from api.paging import Cursors
from api.sealing import Sealer
from core import access
from core.access import Action
from core.errors import Forbidden, NotFound, PlanebaseError, Unauthenticated
from core.ids import Ulid, UlidStr, is_ulid
from db.control import members, outbox
from db.control.members import Place
from db.sessions import ActivitySession, AlarmsSession, ControlSession
from db.transactions import Sessions, transaction

OPEN_PATHS = frozenset({"/healthz", "/openapi.json"})
Where = Callable[[ControlSession, Ulid, Ulid | None], Coroutine[Any, Any, Place | None]]


class Canceler(Protocol):
    """Asks a run to stop."""

    async def cancel(self, workflow_id: str, run_id: str | None) -> None:
        """Ask; raises Unavailable when Temporal is away, and NotFound when there is no such run."""


@dataclass(frozen=True)
class Parts:
    """What the app's routes work with."""

    control: Sessions[ControlSession]
    activity: Sessions[ActivitySession]
    alarms: Sessions[AlarmsSession]
    sealer: Sealer
    cursors: Cursors
    runs: Canceler
    runs_url: str
    webhook_allow_http: bool


class Gate:
    """ASGI middleware: nothing is read of a request that does not come from the portal."""

    def __init__(self, app: ASGIApp, *, portal_token: str) -> None:
        self.app = app
        self._expected = portal_token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._is_portal(scope):
            error = Unauthenticated("this API answers the portal only: its token is missing or wrong")
            await problems.answer(error, scope["trace"].operation_id)(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            _name_tenant(scope)

    def _is_portal(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._expected)


@dataclass(frozen=True)
class Caller:
    """One call: for whom it is made, and what it may work with."""

    parts: Parts
    user_id: Ulid | None
    trace: Trace
    at: datetime

    @property
    def request_id(self) -> Ulid:
        """Return the request's id, which is its operation's id too."""
        return self.trace.operation_id

    @property
    def name(self) -> str:
        """Return who asks, as operations and alerts keep it."""
        return f"user:{self.user_id}" if self.user_id else "service"

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[ControlSession]:
        """Open a transaction on the Control DB, for a user who exists."""
        async with transaction(self.parts.control) as session:
            await self.check_user(session)
            yield session

    async def check_user(self, session: ControlSession) -> None:
        """Raise Forbidden unless the user that this call is made for exists and is not disabled."""
        if self.user_id is not None and not await members.is_active(session, self.user_id):
            raise Forbidden("there is no such acting user, or it is disabled", code="unknown_user")

    def service_only(self, what: str) -> None:
        """Raise Forbidden where the portal acts for a user."""
        if self.user_id is not None:
            raise Forbidden(f"{what} is for the portal itself, not for a user")

    async def at_tenant(
        self, session: ControlSession, tenant_id: Ulid, action: Action, what: str = "tenant"
    ) -> Place:
        """Return the tenant, if the caller may do `action` there; `what` is not there otherwise."""
        return await self._may(session, members.at_tenant, tenant_id, action, what)

    async def at_workspace(
        self, session: ControlSession, workspace_id: Ulid, action: Action, what: str = "workspace"
    ) -> Place:
        """Return the workspace, if the caller may do `action` there; `what` is not there otherwise."""
        return await self._may(session, members.at_workspace, workspace_id, action, what)

    async def at_base(
        self, session: ControlSession, base_id: Ulid, action: Action, what: str = "base"
    ) -> Place:
        """Return the base, if the caller may do `action` there; `what` is not there otherwise."""
        return await self._may(session, members.at_base, base_id, action, what)

    async def workspaces(self, session: ControlSession, tenant_id: Ulid) -> list[Ulid] | None:
        """Return the workspaces of a tenant that the caller sees; None is all."""
        if self.user_id is None:
            return None
        return await members.workspaces_of(session, tenant_id, self.user_id)

    async def _may(
        self, session: ControlSession, where: Where, subject: Ulid, action: Action, what: str
    ) -> Place:
        place = await where(session, subject, self.user_id)
        # No role is no member, and to him nothing is there.
        if place is None or (self.user_id is not None and place.role is None):
            raise missing(what)
        self.concerns(place.tenant_id, place.base_id)
        access.check(place.role if self.user_id else None, action)
        access.check_tenant(place.tenant_status, action)
        return place

    def concerns(self, tenant_id: Ulid | None, base_id: Ulid | None = None) -> None:
        """Note whose call this is, for the access log; also where the caller may nothing."""
        self.trace.tenant_id, self.trace.base_id = tenant_id, base_id


@dataclass(frozen=True)
class Writer(Caller):
    """One mutating call."""

    once: Once

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Change]:
        """Open the call's one transaction, for a user who exists; see `Once.change`."""
        async with self.once.change() as change:
            await self.check_user(change.session)
            yield change

    async def tell(
        self,
        change: Change,
        action: str,
        *,
        tenant_id: Ulid,
        resource: tuple[str, str],
        workspace_id: Ulid | None = None,
        base_id: Ulid | None = None,
        diff: dict[str, Any] | None = None,
    ) -> None:
        """Put what was done into the tenant's activity, with the transaction that does it."""
        await outbox.add(
            change.session,
            "activity",
            change.event_id(),
            self.at,
            {
                "tenant_id": tenant_id,
                "workspace_id": workspace_id,
                "base_id": base_id,
                "actor_user_id": self.user_id,
                "resource_type": resource[0],
                "resource_id": resource[1],
                "action": action,
                "operation_id": self.request_id,
                "diff_json": diff or {},
            },
        )


def missing(what: str) -> PlanebaseError:
    """Return the one refusal of what is not there, or not for this caller."""
    return NotFound(f"there is no such {what}")


def _name_tenant(scope: Scope) -> None:
    # Refused before anything was looked up: the path says whose it would have been. A 404 is nobody's.
    if scope["type"] == "http" and scope["trace"].tenant_id is None and scope["trace"].status != 404:
        given = str(scope.get("path_params", {}).get("tenant_id", ""))
        scope["trace"].tenant_id = given if is_ulid(given) else None


_BEARER = Depends(HTTPBearer(auto_error=False, description="The portal's token."))
ActingUser = Annotated[
    UlidStr | None,
    Header(
        alias="Planebase-Acting-User",
        description="The user for whom the portal acts; without it, it acts for itself.",
    ),
]


def _reader(request: Request, acting_user: ActingUser = None, _: Any = _BEARER) -> Caller:
    trace = trace_of(request)
    user_id = None if acting_user is None else Ulid(acting_user)
    trace.actor_id = user_id
    return Caller(request.app.state.parts, user_id, trace, begun_at(trace))


async def _writer(request: Request, caller: Annotated[Caller, Depends(_reader)], key: Key = None) -> Writer:
    once = Once(
        caller.parts.control,
        caller.parts.sealer,
        f"control:{caller.user_id or 'service'}",
        key,
        await hash_of(request),
        caller.request_id,
        caller.at,
    )
    return Writer(caller.parts, caller.user_id, caller.trace, caller.at, once)


Reads = Annotated[Caller, Depends(_reader)]
Writes = Annotated[Writer, Depends(_writer)]
