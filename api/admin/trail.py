"""The audit trail: what is about to be done is on record before it is done, or it is not done."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import structlog
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.edge import Trace
from api.once import begun_at
from api.strict import parameters
from core import audit, ids
from core.audit import AdminAction, Phase
from core.errors import PlanebaseError, Unauthenticated, Unavailable
from core.ids import Ulid, is_ulid
from db.audit import events
from db.control import admins
from db.control.admins import Session
from db.sessions import AuditSession, ControlSession
from db.transactions import Sessions, transaction

UNRECORDED = frozenset({"/healthz"})
DESCRIPTION_PATH = "/openapi.json"
OPEN = frozenset({AdminAction.ADMIN_LOGIN, AdminAction.API_DESCRIPTION_GET, AdminAction.UNKNOWN_ENDPOINT})
_MAX_PARAMETERS = 20
_log = structlog.get_logger("api.audit")


class Trail:
    """ASGI middleware inside the edge: an intent before each call, an outcome for each that was refused.

    What a mutation did is on record through the outbox, in the transaction that did it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoints: Sequence[APIRoute],
        control: Sessions[ControlSession],
        audit_log: Sessions[AuditSession],
    ) -> None:
        self.app = app
        self._endpoints = endpoints
        self._control = control
        self._audit = audit_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in UNRECORDED:
            await self.app(scope, receive, send)
            return
        trace: Trace = scope["trace"]
        action, path_params, names = self._what(scope)
        who, refusal = await self._who(scope, action)
        scope["admin"], scope["admin_action"] = who, action
        trace.actor_id = who.admin_id if who else None
        trace.tenant_id = _tenant(path_params)
        row = {
            "actor_admin_id": who.admin_id if who else None,
            "tenant_id": trace.tenant_id,
            "ip": trace.ip,
            "action": action.value,
            "target_type": audit.target(path_params)[0],
            "target_id": audit.target(path_params)[1],
            "request_id": trace.operation_id,
        }
        asked = {
            "method": trace.method,
            "path": audit.text(scope["path"]),
            "parameters": _query(scope, names),
        }
        try:
            await self._append(row, begun_at(trace), {"phase": Phase.INTENT, **asked})
        except Exception as error:
            # Whatever kept the intent from being written, away or broken: no record, no act.
            refused = Unavailable("the audit is away, and nothing is done without it", retry_after_s=2)
            _log.error("the audit is away", request_id=trace.operation_id, error=repr(error))
            await problems.answer(refused, trace.operation_id)(scope, receive, send)
            return
        recorder = _Recorder(self, row, send)
        if refusal is not None:
            await problems.answer(refusal, trace.operation_id)(scope, receive, recorder)
            return
        await self.app(scope, receive, recorder)

    async def outcome(self, row: dict[str, Any], details: dict[str, Any]) -> None:
        """Record how a call ended that changed nothing; its intent is there in any case."""
        try:
            await self._append(row, datetime.now(UTC), {"phase": Phase.OUTCOME, **details})
        except Exception as error:
            _log.error("the audit went away", request_id=row["request_id"], error=repr(error))

    async def _append(self, row: dict[str, Any], at: datetime, details: dict[str, Any]) -> None:
        async with transaction(self._audit) as session:
            await events.add_admin_event(
                session, {"id": ids.new(), "occurred_at": at.isoformat(), "details_json": details, **row}
            )

    async def _who(self, scope: Scope, action: AdminAction) -> tuple[Session | None, PlanebaseError | None]:
        token = _bearer(scope)
        if token is None:
            found = None
        else:
            try:
                async with transaction(self._control) as session:
                    found = await admins.by_session(session, token_hash(token))
            except PlanebaseError as error:
                return None, error
        if found is None and action not in OPEN:
            return None, Unauthenticated("log in: the session is missing, over or revoked")
        return found, None

    def _what(self, scope: Scope) -> tuple[AdminAction, dict[str, Any], set[str]]:
        if scope["path"] == DESCRIPTION_PATH:
            return AdminAction.API_DESCRIPTION_GET, {}, set()
        for route in self._endpoints:
            match, child = route.matches(scope)
            if match is Match.FULL:
                scope["trace"].route = route.path
                return AdminAction(route.name), child["path_params"], parameters(route.dependant)
        return AdminAction.UNKNOWN_ENDPOINT, {}, set()


class _Recorder:
    """Holds a response back until its end is on record, where that is not done by the call itself."""

    def __init__(self, trail: Trail, row: dict[str, Any], send: Send) -> None:
        self._trail = trail
        self._row = row
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            await self._record(start, message.get("body", b""))
            await self._send(start)
        await self._send(message)

    async def _record(self, start: Message, body: bytes) -> None:
        status = start["status"]
        if status >= 400:
            await self._trail.outcome(self._row, {"status": status, "code": _code(body)})
        elif any(name == b"idempotency-hit" for name, _ in start.get("headers", ())):
            await self._trail.outcome(self._row, {"status": status, "replayed": True})


def token_hash(token: str) -> str:
    """Return what is stored of a session's token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def _bearer(scope: Scope) -> str | None:
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" and token.strip() else None


def _tenant(path_params: dict[str, Any]) -> Ulid | None:
    given = str(path_params.get("tenant_id", ""))
    return Ulid(given) if is_ulid(given) else None


def _query(scope: Scope, names: set[str]) -> dict[str, str]:
    # Only what the endpoint knows: whatever else is there may be a secret that strayed.
    pairs = parse_qsl(scope["query_string"].decode("latin-1"))[:_MAX_PARAMETERS]
    return {name: audit.text(value) for name, value in pairs if name in names}


def _code(body: bytes) -> str | None:
    try:
        return audit.text(json.loads(body)["code"])
    except (ValueError, KeyError, TypeError):
        return None
