"""Rows of `alarms.quota_snapshots`: what each metric stood at in each cycle, for ever."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import text

from core.ids import Ulid
from core.metering import snapshot_id
from db.sessions import AlarmsSession


@dataclass(frozen=True)
class Snapshot:
    """One metric of a tenant in one window, beside its limit."""

    tenant_id: Ulid
    metric: str
    window: str
    value: Decimal
    limit: Decimal | None


async def add(
    session: AlarmsSession, captured_at: datetime, snapshots: Sequence[Snapshot], operation_id: Ulid
) -> None:
    """Append a cycle's snapshots; one that the cycle has taken already stays as it was."""
    await session.execute(
        text("""
            insert into alarms.quota_snapshots
                   (id, captured_at, tenant_id, metric, "window", value, limit_value, operation_id)
            select s.id, :captured_at, s.tenant_id, s.metric, s."window", s.value, s.limit_value, :operation_id
              from unnest(cast(:ids as text[]), cast(:tenants as text[]), cast(:metrics as text[]),
                          cast(:windows as text[]), cast(:values as numeric[]), cast(:limits as numeric[]))
                     as s (id, tenant_id, metric, "window", value, limit_value)
            on conflict do nothing"""),
        {
            "captured_at": captured_at,
            "operation_id": operation_id,
            "ids": [snapshot_id(captured_at, s.tenant_id, s.metric, s.window) for s in snapshots],
            "tenants": [s.tenant_id for s in snapshots],
            "metrics": [s.metric for s in snapshots],
            "windows": [s.window for s in snapshots],
            "values": [s.value for s in snapshots],
            "limits": [s.limit for s in snapshots],
        },
    )


async def tenants(
    session: AlarmsSession, captured_at: datetime, after: Ulid | None, limit: int
) -> list[Ulid]:
    """Return the tenants of one cycle by id, those after `after`."""
    rows = await session.scalars(
        text("""
            select distinct tenant_id from alarms.quota_snapshots
             where captured_at = :captured_at and tenant_id > :after order by tenant_id limit :limit"""),
        {"captured_at": captured_at, "after": after or "", "limit": limit},
    )
    return list(rows)


async def of(
    session: AlarmsSession, captured_at: datetime, tenant_ids: Sequence[Ulid], window: str
) -> list[Snapshot]:
    """Return some tenants' snapshots of one cycle and window."""
    rows = await session.execute(
        text("""
            select tenant_id, metric, "window", value, limit_value from alarms.quota_snapshots
             where tenant_id = any(cast(:ids as text[])) and captured_at = :captured_at and "window" = :window
             order by tenant_id, metric"""),
        {"ids": list(tenant_ids), "captured_at": captured_at, "window": window},
    )
    return [Snapshot(row.tenant_id, row.metric, row.window, row.value, row.limit_value) for row in rows]
