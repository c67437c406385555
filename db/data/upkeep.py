"""Upkeep of a Data DB: its change log's partitions, and idempotency rows past their day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import asyncpg

from core.retention import Months

# A partition that comes or goes locks its parent: better to come again than to let every writer queue behind us.
_LOCK_TIMEOUT = "set local lock_timeout = '2s'"


@dataclass(frozen=True)
class ChangeLog:
    """For how many days a cluster keeps its changes, and the first days of the months that it has."""

    kept_days: int
    months: Sequence[date]


class Drop(StrEnum):
    """What became of a month that was to be dropped: it is gone, or somebody still needs it."""

    DROPPED = "dropped"
    ABSENT = "absent"
    YOUNG = "young"
    OLDER_MONTHS = "older months"
    IDEMPOTENCY = "idempotency"
    RELAY = "relay"
    TRASH = "trash"


async def ensure_partitions(conn: asyncpg.Connection, months: Months) -> int:
    """Make the change log's partitions of `months` that are missing, in a transaction; returns how many."""
    await conn.execute(_LOCK_TIMEOUT)
    return int(
        await conn.fetchval("select platform.ensure_partitions($1, $2)", months.first, months.after) or 0
    )


async def change_log(conn: asyncpg.Connection) -> ChangeLog | None:
    """Return what the change log has and keeps; None where the database is no cluster yet."""
    row = await conn.fetchrow(
        """select i.changes_kept_days,
                  array(select to_date(right(p.relname, 7), 'YYYY"m"MM')
                          from pg_inherits h join pg_class p on p.oid = h.inhrelid
                         where h.inhparent = 'platform.changes'::regclass) as months
             from platform.identity i"""
    )
    return None if row is None else ChangeLog(row["changes_kept_days"], row["months"])


async def drop_partition(conn: asyncpg.Connection, month: date) -> Drop:
    """Drop a month of the change log, in a transaction, unless somebody needs it; repeating it changes nothing."""
    await conn.execute(_LOCK_TIMEOUT)
    return Drop(await conn.fetchval("select platform.drop_partition($1)", month))


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
