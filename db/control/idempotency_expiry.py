"""Letting go of old rows of `control.idempotency`."""

from datetime import datetime

from sqlalchemy import text

from db.sessions import ControlSession


async def expire(session: ControlSession, before: datetime, limit: int) -> int:
    """Delete at most `limit` rows from before `before`; returns how many."""
    rows = await session.scalars(
        text("""
            delete from control.idempotency i
             using (select caller, key from control.idempotency
                     where created_at < :before order by created_at limit :limit) old
             where (i.caller, i.key) = (old.caller, old.key) and i.created_at < :before
            returning 1"""),
        {"before": before, "limit": limit},
    )
    return len(rows.all())
