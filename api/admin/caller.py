"""Who calls the Admin API: an operator with a session, whose every act is on record."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.once import Change, Key, Once, begun_at, hash_of, trace_of
from api.paging import Cursors
from api.sealing import Sealer
from core.audit import AdminAction, Phase
from core.errors import NotFound, PlanebaseError, Unauthenticated
from core.ids import Ulid
from db.control import outbox
from db.control.admins import Session
from db.sessions import AuditSession, ControlSession
from db.transactions import Sessions, transaction


@dataclass(frozen=True)
class Parts:
    """What the app's routes work with."""

    control: Sessions[ControlSession]
    audit: Sessions[AuditSession]
    sealer: Sealer
    cursors: Cursors
    runs_url: str
    session_ttl_s: int
    hashing: asyncio.Semaphore


@dataclass(frozen=True)
class Operator:
    """One call of an operator."""

    parts: Parts
    session: Session
    action: AdminAction
    request_id: Ulid
    at: datetime
    ip: str | None

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[ControlSession]:
        """Open a transaction on the Control DB."""
        async with transaction(self.parts.control) as session:
            yield session


@dataclass(frozen=True)
class Actor(Operator):
    """One mutating call of an operator."""

    once: Once

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Change]:
        """Open the call's one transaction; see `Once.change`."""
        async with self.once.change() as change:
            yield change

    async def record(
        self,
        change: Change,
        status: int,
        *,
        tenant_id: Ulid | None,
        target: tuple[str, str],
        details: dict[str, Any],
    ) -> None:
        """Put what was done on record, with the transaction that does it."""
        await record(
            change,
            admin_id=self.session.admin_id,
            action=self.action,
            ip=self.ip,
            tenant_id=tenant_id,
            target=target,
            details={"status": status, **details},
        )

    async def tell_tenant(
        self, change: Change, action: str, *, tenant_id: Ulid, resource: tuple[str, str], diff: dict[str, Any]
    ) -> None:
        """Put what was done into the tenant's own activity too, without the operator."""
        await outbox.add(
            change.session,
            "activity",
            change.event_id(),
            self.at,
            {
                "tenant_id": tenant_id,
                "resource_type": resource[0],
                "resource_id": resource[1],
                "action": action,
                "operation_id": self.request_id,
                "diff_json": diff,
            },
        )


async def record(
    change: Change,
    *,
    admin_id: Ulid,
    action: AdminAction,
    ip: str | None,
    tenant_id: Ulid | None,
    target: tuple[str, str],
    details: dict[str, Any],
) -> None:
    """Send the outcome of a mutation to the audit, with the transaction that does it."""
    await outbox.add(
        change.session,
        "audit",
        change.event_id(),
        change.at,
        {
            "actor_admin_id": admin_id,
            "tenant_id": tenant_id,
            "ip": ip,
            "action": action.value,
            "target_type": target[0],
            "target_id": target[1],
            "request_id": change.request_id,
            "details_json": {"phase": Phase.OUTCOME, **details},
        },
    )


def missing(what: str) -> PlanebaseError:
    """Return the refusal of what is not there."""
    return NotFound(f"there is no such {what}")


_BEARER = Depends(HTTPBearer(auto_error=False, description="The session's token, from /login."))


def _operator(request: Request, _: Any = _BEARER) -> Operator:
    trace = trace_of(request)
    # The trail has looked the session up, and let nobody through without one.
    session = request.scope["admin"]
    if session is None:
        raise Unauthenticated("log in: the session is missing, over or revoked")
    return Operator(
        request.app.state.parts,
        session,
        request.scope["admin_action"],
        trace.operation_id,
        begun_at(trace),
        trace.ip,
    )


async def _actor(
    request: Request, operator: Annotated[Operator, Depends(_operator)], key: Key = None
) -> Actor:
    once = Once(
        operator.parts.control,
        operator.parts.sealer,
        f"admin:{operator.session.admin_id}",
        key,
        await hash_of(request),
        operator.request_id,
        operator.at,
    )
    return Actor(
        operator.parts,
        operator.session,
        operator.action,
        operator.request_id,
        operator.at,
        operator.ip,
        once,
    )


Reads = Annotated[Operator, Depends(_operator)]
Acts = Annotated[Actor, Depends(_actor)]
