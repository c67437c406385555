"""Operators: how they log in, and their sessions."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from core import ids, login
from core.ids import Ulid
from db.control.models import Admin, AdminSession
from db.sessions import ControlSession

HASHER = PasswordHasher()


@dataclass(frozen=True)
class Session:
    """A session that is good now, and whose it is."""

    id: Ulid
    admin_id: Ulid
    email: str
    name: str
    expires_at: datetime


async def by_email(session: ControlSession, email: str) -> Admin | None:
    """Return the active admin with an address."""
    query = select(Admin).where(func.lower(Admin.email) == func.lower(email), Admin.status == "active")
    return await session.scalar(query)


async def locked(session: ControlSession, admin_id: Ulid) -> Admin | None:
    """Return an active admin, locked: two logins of one admin are judged one after the other."""
    query = select(Admin).where(Admin.id == admin_id, Admin.status == "active").with_for_update()
    return await session.scalar(query, execution_options={"populate_existing": True})


async def note_success(session: ControlSession, admin_id: Ulid, totp_step: int) -> None:
    """Use up a code's time step, and forget the failures."""
    await session.execute(
        update(Admin)
        .where(Admin.id == admin_id)
        .values(totp_last_step=totp_step, failed_logins=0, locked_until=None, updated_at=func.now())
    )


async def note_failures(
    session: ControlSession, admin_id: Ulid, failed_logins: int, locked_until: datetime | None
) -> None:
    """Note how many logins have failed in a row, and until when none is tried."""
    await session.execute(
        update(Admin)
        .where(Admin.id == admin_id)
        .values(failed_logins=failed_logins, locked_until=locked_until, updated_at=func.now())
    )


async def open_session(
    session: ControlSession,
    *,
    session_id: Ulid,
    admin_id: Ulid,
    token_hash: str,
    ip: str | None,
    expires_at: datetime,
) -> None:
    """Begin a session."""
    await session.execute(
        insert(AdminSession).values(
            id=session_id, admin_id=admin_id, token_hash=token_hash, ip=ip, expires_at=expires_at
        )
    )


async def by_session(session: ControlSession, token_hash: str) -> Session | None:
    """Return the session of a token, if it is neither over nor revoked and its admin is active."""
    query = (
        select(AdminSession.id, Admin.id, Admin.email, Admin.name, AdminSession.expires_at)
        .join(Admin, Admin.id == AdminSession.admin_id)
        .where(
            AdminSession.token_hash == token_hash,
            AdminSession.revoked_at.is_(None),
            AdminSession.expires_at > func.now(),
            Admin.status == "active",
        )
    )
    row = (await session.execute(query)).one_or_none()
    return None if row is None else Session(*row)


async def close_session(session: ControlSession, session_id: Ulid) -> None:
    """End a session. Repeating it changes nothing."""
    await session.execute(
        update(AdminSession)
        .where(AdminSession.id == session_id, AdminSession.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )


async def ensure_first(
    control_owner_dsn: str, email: str, password: str, totp_secret: str, secret_key: str
) -> None:
    """Make the first admin, or give him the password and secret named here. Repeating changes nothing."""
    sealer = Fernet(secret_key)
    # One that is too short is refused here, and not at the first login.
    login.matching_step(totp_secret, "", time.time())
    conn = await asyncpg.connect(control_owner_dsn)
    try:
        async with conn.transaction():
            await conn.execute("select pg_advisory_xact_lock(hashtextextended('control.admins', 2))")
            row = await conn.fetchrow(
                "select id, password_hash, totp_secret_sealed from control.admins"
                " where lower(email) = lower($1)",
                email,
            )
            if row is None:
                await conn.execute(
                    "insert into control.admins (id, email, name, password_hash, totp_secret_sealed)"
                    " values ($1, $2, $3, $4, $5)",
                    ids.new(),
                    email,
                    email.partition("@")[0],
                    await asyncio.to_thread(HASHER.hash, password),
                    sealer.encrypt(totp_secret.encode()).decode(),
                )
                return
            if not await asyncio.to_thread(_is_password, row["password_hash"], password):
                await conn.execute(
                    "update control.admins set password_hash = $2, updated_at = now() where id = $1",
                    row["id"],
                    await asyncio.to_thread(HASHER.hash, password),
                )
            if not _holds(sealer, row["totp_secret_sealed"], totp_secret):
                await conn.execute(
                    "update control.admins"
                    " set totp_secret_sealed = $2, totp_last_step = 0, updated_at = now() where id = $1",
                    row["id"],
                    sealer.encrypt(totp_secret.encode()).decode(),
                )
    finally:
        await conn.close()


def _is_password(password_hash: str, password: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except VerificationError:
        return False


def _holds(sealer: Fernet, sealed: str, secret: str) -> bool:
    try:
        return sealer.decrypt(sealed.encode()).decode() == secret
    except InvalidToken:
        return False
