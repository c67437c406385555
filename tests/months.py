"""Months of the change log that lie back, and rows in them, made as the data's owner."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg

from core.ids import Ulid
from tests import seeds
from tests.conftest import CLUSTER_ID, Databases


def month(ago: int) -> date:
    """Return the first day of the month so many months ago."""
    today = datetime.now(UTC).date()
    count = today.year * 12 + today.month - 1 - ago
    return date(count // 12, count % 12 + 1, 1)


def last_hour(ago: int) -> datetime:
    """Return a moment in the last hour of that month."""
    following = month(ago - 1)
    return datetime(following.year, following.month, 1, tzinfo=UTC) - timedelta(minutes=30)


async def make(conn: asyncpg.Connection, *ago: int) -> None:
    """Let the change log have the months so many months ago, and of those that lie back no others."""
    for name in sorted(await there(conn)):
        if name < f"{month(0):%Y-%m}":
            await conn.execute(f"drop table platform.changes_y{name.replace('-', 'm')}")
    for n in ago:
        await conn.execute("select platform.ensure_partitions($1, 0)", month(n))


async def there(conn: asyncpg.Connection) -> set[str]:
    """Return the months that the change log has, as `2026-11`."""
    rows = await conn.fetch(
        "select replace(right(inhrelid::regclass::text, 7), 'm', '-') as month from pg_inherits"
        " where inhparent = 'platform.changes'::regclass"
    )
    return {row["month"] for row in rows}


async def change(conn: asyncpg.Connection, tenant_id: Ulid, at: datetime, **given: Any) -> None:
    """Log one change of that time."""
    row = {
        "tenant_id": tenant_id, "generation": 1, "origin": CLUSTER_ID, "workspace_id": tenant_id, "base_id": tenant_id,
        "table_id": tenant_id, "record_id": tenant_id, "version": 1, "action": "create", "changed_at": at,
    } | given  # fmt: skip
    places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    await conn.execute(
        f"insert into platform.changes ({', '.join(row)}) values ({places})",
        *row.values(),
    )


async def relayed(conn: asyncpg.Connection, name: str = "relay") -> None:
    """Note that all that is committed was carried."""
    await conn.execute(
        "insert into platform.relay_cursors as c (name, xid) values ($1, pg_snapshot_xmin(pg_current_snapshot()))"
        " on conflict (name) do update set xid = excluded.xid, seq = 0",
        name,
    )


async def keep(conn: asyncpg.Connection, days: int) -> None:
    """Set for how many days the change log is kept."""
    await conn.execute("update platform.identity set changes_kept_days = $1", days)


async def drop(databases: Databases, ago: int) -> str:
    """Ask for a month to be dropped, as the upkeep does."""
    async with databases.connect("maintenance_worker", "data") as conn:
        return str(await conn.fetchval("select platform.drop_partition($1)", month(ago)))


async def waiting(conn: asyncpg.Connection) -> None:
    """Return when somebody waits for the change log itself."""

    async def somebody() -> bool:
        return bool(
            await conn.fetchval(
                "select exists (select from pg_locks where relation = 'platform.changes'::regclass and not granted)"
            )
        )

    await seeds.until(somebody)
