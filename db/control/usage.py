"""What tenants have used, by month."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import select

from core.ids import Ulid
from db.control.models import UsageCounter
from db.sessions import ControlSession


async def months(
    session: ControlSession, tenant_id: Ulid, *, before: date | None, limit: int
) -> Sequence[UsageCounter]:
    """Return a tenant's months, newest first, those before `before`."""
    query = (
        select(UsageCounter)
        .where(UsageCounter.tenant_id == tenant_id)
        .order_by(UsageCounter.month.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(UsageCounter.month < before)
    return (await session.scalars(query)).all()


async def of_month(session: ControlSession, tenant_id: Ulid, month: date) -> UsageCounter | None:
    """Return what a tenant has used in the month that begins at `month`."""
    return await session.scalar(
        select(UsageCounter).where(UsageCounter.tenant_id == tenant_id, UsageCounter.month == month)
    )
