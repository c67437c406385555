"""Upkeep of a Data DB: its change log's partitions, and idempotency rows past their day."""

from datetime import datetime

import asyncpg

from core.retention import Months


async def ensure_partitions(conn: asyncpg.Connection, months: Months) -> int:
    """Make the change log's partitions of `months` that are missing, in a transaction; returns how many."""
    # A new partition locks its parent: better to come again than to let every writer queue behind us.
    await conn.execute("set local lock_timeout = '2s'")
    return int(
        await conn.fetchval("select platform.ensure_partitions($1, $2)", months.first, months.after) or 0
    )


async def expire_idempotency(conn: asyncpg.Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` rows from before `before`; returns how many."""
    rows = await conn.fetch(
        """delete from platform.idempotency i
            using (select tenant_id, token_id, key from platform.idempotency
                    where created_at < $1 order by created_at limit $2) old
            where (i.tenant_id, i.token_id, i.key) = (old.tenant_id, old.token_id, old.key)
              and i.created_at < $1
           returning 1""",
        before,
        limit,
    )
    return len(rows)
