"""Logging in and out: password and one-time code, each code once, five failures and a pause."""

import asyncio
import secrets
from datetime import datetime, timedelta
from typing import Annotated

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import APIRouter, Request
from pydantic import Field, SecretStr, field_validator
from starlette.responses import Response

from api.admin.caller import Acts, Parts, Reads, record
from api.admin.trail import token_hash
from api.once import Change, begun_at, trace_of
from api.problems import problems
from api.strict import Closed, Email, Out
from core import ids, login
from core.audit import AdminAction, SecurityEvent
from core.errors import RateLimited, Unauthenticated
from core.ids import Ulid
from core.login import Verdict
from db.audit import events
from db.control import admins
from db.control.models import Admin
from db.transactions import transaction

router = APIRouter(tags=["session"])

_HASHER = PasswordHasher()
# For an address that nobody has: as much work as for one that somebody has.
_NOBODYS_HASH = _HASHER.hash(secrets.token_urlsafe())
_NOBODYS_SECRET = pyotp.random_base32()
_NOBODY = Ulid("0" * 26)
_MAX_WAITING_S = 5.0
_REFUSED = "e-mail, password or code is wrong"


class Credentials(Closed):
    """Who logs in, and the proofs."""

    email: Email
    password: Annotated[SecretStr, Field(min_length=1, max_length=1_000)]
    totp: SecretStr

    @field_validator("totp")
    @classmethod
    def _six_digits(cls, totp: SecretStr) -> SecretStr:
        code = totp.get_secret_value()
        if not (len(code) == 6 and code.isascii() and code.isdecimal()):
            raise ValueError("a code has six digits")
        return totp


class AdminOut(Out):
    """An operator."""

    id: Ulid
    email: str
    name: str


class LoggedIn(Out):
    """A session: its token is in this answer and no other."""

    token: str
    expires_at: datetime
    admin: AdminOut


class WhoAmI(Out):
    """The present session."""

    session_id: Ulid
    expires_at: datetime
    admin: AdminOut


@router.post(
    "/login",
    name=AdminAction.ADMIN_LOGIN,
    response_model=LoggedIn,
    responses=problems(400, 401, 422, 429, 503),
)
async def log_in(body: Credentials, request: Request) -> Response:
    """Begin a session. Whatever is wrong, the answer and the work are the same."""
    parts: Parts = request.app.state.parts
    trace = trace_of(request)
    at = begun_at(trace)
    async with transaction(parts.control) as session:
        known = await admins.by_email(session, body.email)
    fits = await _password_fits(parts, known, body.password.get_secret_value())
    secret = parts.sealer.open(known.totp_secret_sealed) if known else None
    step = login.matching_step(
        secret or _NOBODYS_SECRET, body.totp.get_secret_value(), trace.occurred_at_ms / 1_000
    )
    token = "pba_" + secrets.token_urlsafe(32)
    expires_at = at + timedelta(seconds=parts.session_ttl_s)
    async with transaction(parts.control) as session:
        change = Change(session, trace.operation_id, at)
        admin = await admins.locked(session, known.id if known else _NOBODY)
        verdict = login.judge(
            known=admin is not None,
            locked=admin is not None and admin.locked_until is not None and admin.locked_until > at,
            password_fits=fits,
            step=step if secret else None,
            last_step=admin.totp_last_step if admin else 0,
        )
        if verdict is Verdict.WELCOME and admin is not None and step is not None:
            await admins.note_success(session, admin.id, step)
            await admins.open_session(
                session,
                session_id=trace.operation_id,
                admin_id=admin.id,
                token_hash=token_hash(token),
                ip=trace.ip,
                expires_at=expires_at,
            )
            await record(
                change,
                admin_id=admin.id,
                action=AdminAction.ADMIN_LOGIN,
                ip=trace.ip,
                tenant_id=None,
                target=("admin", admin.id),
                details={"status": 200, "session_id": trace.operation_id},
            )
            shown = AdminOut.model_validate(admin)
            change.answer(200, LoggedIn(token=token, expires_at=expires_at, admin=shown))
        else:
            await _note_failure(change, admin, verdict)
        # Before the commit: without a record there is no session, and no guess either.
        await _tell(parts, change, admin, verdict, trace.ip)
    if verdict is not Verdict.WELCOME:
        raise Unauthenticated(_REFUSED, code="invalid_credentials")
    return change.response()


@router.post(
    "/logout", name=AdminAction.ADMIN_LOGOUT, status_code=204, responses=problems(400, 401, 409, 422, 503)
)
async def log_out(actor: Acts) -> Response:
    """End the present session."""
    async with actor.change() as change:
        await admins.close_session(change.session, actor.session.id)
        await actor.record(
            change, 204, tenant_id=None, target=("admin_session", actor.session.id), details={}
        )
        change.answer(204)
    return change.response()


@router.get("/me", name=AdminAction.ADMIN_WHO_AM_I, responses=problems(400, 401, 503))
async def who_am_i(operator: Reads) -> WhoAmI:
    """Show whose session this is, and until when."""
    found = operator.session
    return WhoAmI(
        session_id=found.id,
        expires_at=found.expires_at,
        admin=AdminOut(id=found.admin_id, email=found.email, name=found.name),
    )


async def _password_fits(parts: Parts, admin: Admin | None, password: str) -> bool:
    # Each hash takes 64 MB and a core for a while: two at a time, and nobody waits without end.
    try:
        await asyncio.wait_for(parts.hashing.acquire(), _MAX_WAITING_S)
    except TimeoutError:
        raise RateLimited("too many logins at once: try again", retry_after_s=5) from None
    try:
        return await asyncio.to_thread(
            _verify, admin.password_hash if admin else _NOBODYS_HASH, password, admin is not None
        )
    finally:
        parts.hashing.release()


def _verify(password_hash: str, password: str, known: bool) -> bool:
    try:
        return _HASHER.verify(password_hash, password) and known
    except (VerificationError, InvalidHashError):
        return False


async def _note_failure(change: Change, admin: Admin | None, verdict: Verdict) -> None:
    if admin is None:
        await admins.note_failures(change.session, _NOBODY, 0, None)
        return
    failures, until = admin.failed_logins, admin.locked_until
    if login.counts_as_failure(verdict):
        failures += 1
        if login.is_pause_due(failures):
            failures, until = 0, change.at + login.LOCKED_FOR
    await admins.note_failures(change.session, admin.id, failures, until)


async def _tell(parts: Parts, change: Change, admin: Admin | None, verdict: Verdict, ip: str | None) -> None:
    kind = SecurityEvent.FAILED_LOGIN
    if verdict is Verdict.WELCOME:
        kind = SecurityEvent.ADMIN_LOGIN
    elif verdict is Verdict.REPLAYED_CODE:
        kind = SecurityEvent.MFA_BYPASS_ATTEMPT
    async with transaction(parts.audit) as audit:
        # Not the address that was typed: people type passwords there.
        await events.add_security_event(
            audit,
            {
                "id": ids.new(),
                "occurred_at": change.at.isoformat(),
                "subject_user_id": admin.id if admin else None,
                "ip": ip,
                "type": kind.value,
                "details_json": {"verdict": verdict.value, "request_id": change.request_id},
            },
        )
