"""What happened in a tenant, for that tenant to read."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, RowMapping, Table, or_

from core.ids import Ulid
from db.activity.models import ApiAccessLog, ResourceEvent
from db.logs import Mark, newest
from db.sessions import ActivitySession


async def resource_events(
    session: ActivitySession,
    tenant_id: Ulid,
    *,
    workspaces: Sequence[Ulid] | None,
    base_id: Ulid | None,
    resource_type: str | None,
    resource_id: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
    before: Mark | None,
    limit: int,
) -> list[RowMapping]:
    """Return a tenant's events, newest first; with `workspaces`, only those of one of them, or of none."""

    def conditions(table: Table) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [table.c.tenant_id == tenant_id]
        if workspaces is not None:
            found.append(or_(table.c.workspace_id.is_(None), table.c.workspace_id.in_(workspaces)))
        wanted = {
            "base_id": base_id,
            "resource_type": resource_type,
            "resource_id": resource_id,
            "action": action,
        }
        found += [table.c[name] == value for name, value in wanted.items() if value is not None]
        return found + _between(table, since, until)

    query = newest(cast("Table", ResourceEvent.__table__), conditions, before=before, limit=limit)
    return list((await session.execute(query)).mappings())


async def access_logs(
    session: ActivitySession,
    tenant_id: Ulid,
    *,
    bases: Sequence[Ulid] | None,
    token_id: Ulid | None,
    base_id: Ulid | None,
    status: int | None,
    since: datetime | None,
    until: datetime | None,
    before: Mark | None,
    limit: int,
) -> list[RowMapping]:
    """Return a tenant's requests, newest first; with `bases`, only those to one of them, or to none."""

    def conditions(table: Table) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [table.c.tenant_id == tenant_id]
        if bases is not None:
            found.append(or_(table.c.base_id.is_(None), table.c.base_id.in_(bases)))
        wanted = {"token_id": token_id, "base_id": base_id, "status": status}
        found += [table.c[name] == value for name, value in wanted.items() if value is not None]
        return found + _between(table, since, until)

    query = newest(cast("Table", ApiAccessLog.__table__), conditions, before=before, limit=limit)
    return list((await session.execute(query)).mappings())


def _between(table: Table, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    found = []
    if since is not None:
        found.append(table.c.occurred_at >= since)
    if until is not None:
        found.append(table.c.occurred_at < until)
    return found
