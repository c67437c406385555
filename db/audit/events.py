"""Admin and security events: appended by the Admin API, and read through it alone."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, RowMapping, Table, text
from sqlalchemy.exc import DBAPIError

from core.errors import Unavailable
from db.audit.models import AdminEvent, SecurityEvent
from db.logs import Mark, newest
from db.sessions import AuditSession
from db.transactions import RETRY_AFTER_S


async def add_admin_event(session: AuditSession, row: Mapping[str, Any]) -> None:
    """Append one admin event; a repeated one changes nothing. Raises Unavailable for whatever is in the way."""
    await _append(session, "select audit.add_admin_events(cast(:rows as jsonb))", row)


async def add_security_event(session: AuditSession, row: Mapping[str, Any]) -> None:
    """Append one security event; a repeated one changes nothing. Raises Unavailable for whatever is in the way."""
    await _append(session, "select audit.add_security_events(cast(:rows as jsonb))", row)


async def _append(session: AuditSession, call: str, row: Mapping[str, Any]) -> None:
    try:
        await session.execute(text(call), {"rows": json.dumps([row], default=str)})
    except DBAPIError as error:
        # A right that is missing or a broken schema is no fault of the caller's: without a record, no act.
        words = "the audit takes no record, and nothing is done without it"
        raise Unavailable(words, retry_after_s=RETRY_AFTER_S) from error


async def admin_events(
    session: AuditSession,
    *,
    equals: Mapping[str, str | None],
    since: datetime | None,
    until: datetime | None,
    before: Mark | None,
    limit: int,
) -> list[RowMapping]:
    """Return admin events, newest first, of which the columns in `equals` have those values."""
    query = newest(
        cast("Table", AdminEvent.__table__), _conditions(equals, since, until), before=before, limit=limit
    )
    return list((await session.execute(query)).mappings())


async def security_events(
    session: AuditSession,
    *,
    equals: Mapping[str, str | None],
    since: datetime | None,
    until: datetime | None,
    before: Mark | None,
    limit: int,
) -> list[RowMapping]:
    """Return security events, newest first, of which the columns in `equals` have those values."""
    query = newest(
        cast("Table", SecurityEvent.__table__), _conditions(equals, since, until), before=before, limit=limit
    )
    return list((await session.execute(query)).mappings())


def _conditions(equals: Mapping[str, str | None], since: datetime | None, until: datetime | None) -> Any:
    def of(table: Table) -> list[ColumnElement[bool]]:
        found = [table.c[name] == value for name, value in equals.items() if value is not None]
        if since is not None:
            found.append(table.c.occurred_at >= since)
        if until is not None:
            found.append(table.c.occurred_at < until)
        return found

    return of
