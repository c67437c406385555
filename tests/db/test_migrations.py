"""Every database's history: bounded in time, whole or not at all, and append-only where it says so."""

import re
from pathlib import Path

import asyncpg
import pytest

from db import migrate, roles
from tests.conftest import Databases

APPEND_ONLY = {
    "control": ["control.wallet_ledger"],
    "audit": [
        "audit.admin_events",
        "audit.security_events",
        "audit.admin_events_late",
        "audit.security_events_late",
    ],
    "activity": [
        "activity.resource_events",
        "activity.api_access_logs",
        "activity.resource_events_late",
        "activity.api_access_logs_late",
    ],
    "alarms": ["alarms.quota_snapshots", "alarms.notification_attempts"],
}
ROOT = Path(migrate.__file__).parent


@pytest.mark.parametrize("database", roles.DATABASES)
async def test_a_second_upgrade_changes_nothing(databases: Databases, database: str) -> None:
    async def picture() -> list[tuple[str, ...]]:
        async with databases.own(database) as conn:
            rows = await conn.fetch(
                "select table_schema, table_name, column_name, data_type from information_schema.columns"
                " where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2, 3"
            )
            return [tuple(row) for row in rows]

    before = await picture()
    await migrate.upgrade(database, databases.owner(database))
    assert await picture() == before
    assert before


@pytest.mark.parametrize("database", roles.DATABASES)
def test_every_migration_runs_its_sql_with_timeouts(database: str) -> None:
    files = sorted((ROOT / database / "migrations" / "versions").glob("*.py"))
    assert files
    for file in files:
        text = file.read_text()
        assert "run_sql(" in text, f"{file.name} must go through run_sql, which sets the timeouts"
        assert not re.search(r"\bop\.execute\b", text)


async def test_a_migration_that_waits_for_a_lock_gives_up_and_leaves_nothing(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "50ms")
    async with databases.own("alarms") as holder, databases.own("alarms") as other:
        async with holder.transaction():
            await holder.execute("lock table public.alarms_version in access exclusive mode")
            with pytest.raises(Exception, match="lock timeout"):
                await migrate.upgrade("alarms", databases.owner("alarms"))
        assert await other.fetchval("select count(*) from public.alarms_version") == 1


@pytest.mark.parametrize(("database", "table"), [(d, t) for d, tables in APPEND_ONLY.items() for t in tables])
async def test_append_only_tables_refuse_even_their_owner(
    databases: Databases, database: str, table: str
) -> None:
    async with databases.own(database) as conn:
        triggers = await conn.fetch(
            "select tgtype & 16 > 0 as on_update, tgtype & 8 > 0 as on_delete, tgtype & 32 > 0 as on_truncate"
            " from pg_trigger where tgrelid = $1::regclass and not tgisinternal and tgenabled = 'O'",
            table,
        )
        for event in ("on_update", "on_delete", "on_truncate"):
            assert any(row[event] for row in triggers), f"{table} does not guard {event}"
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await conn.execute(f"truncate {table}")


async def test_each_monthly_partition_refuses_truncate_too(databases: Databases) -> None:
    for database in ("audit", "activity"):
        async with databases.own(database) as conn:
            names = await conn.fetch(
                "select inhrelid::regclass::text as name from pg_inherits i join pg_class c"
                " on c.oid = i.inhparent where c.relkind = 'p'"
            )
            assert len(names) >= 8
            for row in names:
                with pytest.raises(asyncpg.PostgresError, match="append-only"):
                    await conn.execute(f"truncate {row['name']}")


async def test_a_row_of_a_month_without_partition_is_kept_beside(databases: Databases) -> None:
    row = (
        '[{"id": "01kb00000000000000000000aa", "occurred_at": "2019-02-03T04:05:06Z", "action": "TENANT_GET",'
        ' "details_json": {}}]'
    )
    async with databases.connect("admin_api", "audit") as conn:
        for _ in range(2):
            await conn.execute("select audit.add_admin_events($1::jsonb)", row)
        assert await conn.fetchval("select count(*) from audit.admin_events_late") == 1


async def test_the_months_ahead_are_there_and_a_repeat_makes_none(databases: Databases) -> None:
    async with databases.connect("maintenance_worker", "audit") as conn:
        made = await conn.fetchval("select audit.ensure_partitions((now() + interval '5 months')::date, 0)")
        assert made == 2
        assert (
            await conn.fetchval("select audit.ensure_partitions((now() + interval '5 months')::date, 0)") == 0
        )
