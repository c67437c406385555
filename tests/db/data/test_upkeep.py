"""The change log is let go by whole months: what is too old, and nothing that anybody still needs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio

from core.ids import Ulid, new
from db.data import names, tenants
from tests import months, seeds
from tests.conftest import Databases, own_databases


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Databases of our own: what others have logged and never relayed would keep its months."""
    yield from own_databases(tmp_path_factory)


@pytest_asyncio.fixture
async def owner(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """The data's owner, with a log of nine months, a change in each, of which all was relayed."""
    async with databases.own("data") as conn:
        await conn.execute(
            "delete from platform.changes; delete from platform.relay_cursors; delete from platform.idempotency;"
            " update platform.identity set changes_kept_days = 90, changes_since = '-infinity'"
        )
        await months.make(conn, *range(9))
        for ago in range(1, 9):
            await months.change(conn, new(), months.last_hour(ago))
        await months.relayed(conn)
        yield conn


async def test_an_old_month_is_dropped_once(databases: Databases, owner: asyncpg.Connection) -> None:
    before = await months.there(owner)
    assert [await months.drop(databases, 8) for _ in range(2)] == ["dropped", "absent"]
    assert before - await months.there(owner) == {f"{months.month(8):%Y-%m}"}
    assert await owner.fetchval("select count(*) from platform.changes") == 7
    since = await owner.fetchval("select changes_since from platform.identity")
    assert since.date() == months.month(7)
    assert await months.drop(databases, 7) == "dropped"
    # A month that was made anew, as a move may, says nothing of what is not there.
    await months.make(owner, 8)
    assert await months.drop(databases, 8) == "dropped"
    since = await owner.fetchval("select changes_since from platform.identity")
    assert since.date() == months.month(6)


async def test_what_is_younger_than_what_is_kept_stays(
    databases: Databases, owner: asyncpg.Connection
) -> None:
    over = datetime.combine(months.month(7), datetime.min.time(), UTC)
    days = (datetime.now(UTC) - over).days
    for kept, said in ((days + 1, "young"), (3650, "young"), (days - 1, "dropped")):
        await months.keep(owner, kept)
        assert await months.drop(databases, 8) == said
    await months.keep(owner, 1)
    assert await months.drop(databases, 0) == "young"
    assert await months.drop(databases, -1) == "young"


async def test_the_log_has_no_holes(databases: Databases, owner: asyncpg.Connection) -> None:
    assert await months.drop(databases, 7) == "older months"
    assert [await months.drop(databases, ago) for ago in (8, 7)] == ["dropped"] * 2


async def test_what_a_relay_has_not_passed_stays(databases: Databases, owner: asyncpg.Connection) -> None:
    last = await owner.fetchrow(
        "select xid::text, seq from platform.changes where changed_at < $1",
        datetime.combine(months.month(7), datetime.min.time(), UTC),
    )
    move = "update platform.relay_cursors set xid = $2::text::xid8, seq = $3 where name = $1"
    await months.relayed(owner, "another")
    for name in ("relay", "another"):
        await owner.execute(move, name, last["xid"], last["seq"] - 1)
        assert await months.drop(databases, 8) == "relay"
        await owner.execute(move, name, last["xid"], last["seq"])
    assert await months.drop(databases, 8) == "dropped"
    await owner.execute("delete from platform.relay_cursors")
    assert await months.drop(databases, 7) == "relay"
    await owner.execute("delete from platform.changes")
    assert await months.drop(databases, 7) == "dropped"


async def test_rows_of_another_cluster_were_relayed_there(
    databases: Databases, owner: asyncpg.Connection
) -> None:
    await months.change(owner, new(), months.last_hour(8), origin="eu-2", xid=2**40)
    assert await months.drop(databases, 8) == "dropped"


async def test_who_is_refused_holds_nobody_up(databases: Databases, owner: asyncpg.Connection) -> None:
    await owner.execute("update platform.relay_cursors set xid = '0'")
    async with databases.own("data") as reader, reader.transaction():
        await reader.fetch("select from platform.changes")
        async with databases.connect("maintenance_worker", "data") as conn:
            await conn.execute("set lock_timeout = '100ms'")
            drop = "select platform.drop_partition($1)"
            assert await conn.fetchval(drop, months.month(8)) == "relay"
            assert await conn.fetchval(drop, months.month(7)) == "older months"
            assert await conn.fetchval(drop, months.month(9)) == "absent"
            await months.relayed(owner)
            with pytest.raises(asyncpg.LockNotAvailableError):
                await conn.fetchval(drop, months.month(8))


async def test_of_a_large_month_little_is_looked_at(databases: Databases, owner: asyncpg.Connection) -> None:
    await months.make(owner, 1, 2)
    await months.keep(owner, 1)
    tenant_id, table_id = await tenant_with_table(databases, 90)
    await owner.execute(
        "insert into platform.changes (tenant_id, generation, origin, workspace_id, base_id, table_id, record_id,"
        " version, action, changed_at) select $1, 1, 'local', $1, $1, case n % 3 when 0 then $2 else $1 end, n, 1,"
        " case n % 2 when 0 then 'create' else 'delete' end, $3 from generate_series(1, 6000) n",
        tenant_id, table_id, months.last_hour(2),
    )  # fmt: skip
    await months.relayed(owner)
    # Nobody has analyzed it: the planner takes it that many rows are beyond the relay, of which one is found at once.
    name = f"platform.changes_y{months.month(2):%Ym%m}"
    async with databases.own("data") as conn, conn.transaction():
        assert await conn.fetchval("select platform.drop_partition($1)", months.month(2)) == "trash"
        whole, entries = await conn.fetchrow(
            "select pg_stat_get_xact_numscans(indrelid), sum(pg_stat_get_xact_tuples_returned(indexrelid))"
            " from pg_index where indrelid = $1::text::regclass group by indrelid",
            name,
        )
    assert (whole, 0 < entries < 10) == (0, True)


async def test_a_change_that_is_committed_meanwhile_stays(
    databases: Databases, owner: asyncpg.Connection
) -> None:
    async with databases.own("data") as writer:
        under_way = writer.transaction()
        await under_way.start()
        tenant = new()
        await months.change(writer, tenant, months.last_hour(8))
        asked = asyncio.create_task(months.drop(databases, 8))
        await months.waiting(owner)
        await under_way.commit()
    assert await asked == "relay"
    assert await owner.fetchval("select count(*) from platform.changes where tenant_id = $1", tenant) == 1
    await months.relayed(owner)
    assert await months.drop(databases, 8) == "dropped"


async def test_of_two_who_drop_at_once_one_does(databases: Databases, owner: asyncpg.Connection) -> None:
    async with databases.own("data") as reader, reader.transaction():
        await reader.fetch("select from platform.changes")
        asked = [asyncio.create_task(months.drop(databases, 8)) for _ in range(2)]

        async def both_wait() -> bool:
            return bool(await owner.fetchval("select count(*) = 2 from pg_locks where not granted"))

        await seeds.until(both_wait)
    assert sorted([await each for each in asked]) == ["absent", "dropped"]


async def test_a_key_that_outlives_its_day_keeps_what_its_call_wrote(
    databases: Databases, owner: asyncpg.Connection
) -> None:
    """Keys go a day after their changes, but only when the upkeep comes: a late one finds them both."""
    await owner.execute(
        "insert into platform.idempotency (tenant_id, token_id, key, request_hash, operation_id, status, answer,"
        " created_at) values ($1, $1, 'k', 'h', $1, 200, '[]', $2)",
        new(), months.last_hour(7),
    )  # fmt: skip
    assert [await months.drop(databases, ago) for ago in (8, 7)] == ["dropped", "idempotency"]
    await owner.execute("delete from platform.idempotency")
    assert await months.drop(databases, 7) == "dropped"


async def tenant_with_table(databases: Databases, trash_days: int) -> tuple[Ulid, Ulid]:
    """Make a tenant whose one table keeps its trash for so long."""
    tenant_id, table_id = new(), new()
    async with databases.connect("tenants_worker", "data") as conn, conn.transaction():
        await tenants.create_home(conn, tenant_id, new(), 1)
    async with databases.own("data") as conn:
        await conn.execute(
            f"insert into {names.metadata(tenant_id, 'bases')} (id, workspace_id, name) values ($1, $1, 'B')",
            tenant_id,
        )
        await conn.execute(
            f"insert into {names.metadata(tenant_id, 'tables')} (id, base_id, name, trash_days)"
            " values ($1, $2, 'T', $3)",
            table_id, tenant_id, trash_days,
        )  # fmt: skip
    return tenant_id, table_id


async def test_what_the_trash_of_a_table_needs_stays(databases: Databases, owner: asyncpg.Connection) -> None:
    """A log that is kept for a day keeps each table's trash for as long as the table says."""
    await months.make(owner, 1, 2)
    await months.keep(owner, 1)
    deleted = {"action": "delete", "version": 2}
    long = []
    for trash_days in (90, 1, 20, 90):
        tenant_id, table_id = await tenant_with_table(databases, trash_days)
        if trash_days == 90:
            long.append(tenant_id)
        for minutes in range(3):
            at = months.last_hour(2) - timedelta(minutes=minutes)
            await months.change(owner, tenant_id, at, table_id=table_id, record_id=new(), **deleted)
    # Of a table and of a tenant that are not there any more.
    await months.change(owner, tenant_id, months.last_hour(2), table_id=new(), **deleted)
    await months.change(owner, new(), months.last_hour(2), **deleted)
    await months.relayed(owner)
    # 20 days and less are over, whatever day it is.
    for tenant_id in (long[0], long[1]):
        assert await months.drop(databases, 2) == "trash"
        await owner.execute(f"update {names.metadata(tenant_id, 'tables')} set trash_days = 20")
    assert await months.drop(databases, 2) == "dropped"


async def test_nobody_else_drops_anything(databases: Databases, owner: asyncpg.Connection) -> None:
    for role in ("data_api", "schema_worker", "tenants_worker", "metering_worker"):
        async with databases.connect(role, "data") as conn:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute("select platform.drop_partition($1)", months.month(8))
    async with databases.connect("maintenance_worker", "data") as conn:
        for statement in (
            "delete from platform.changes",
            "truncate platform.changes",
            f"drop table platform.changes_y{months.month(8):%Ym%m}",
            "update platform.identity set changes_kept_days = 1",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(statement)
    assert await owner.fetchval("select count(*) from platform.changes") == 8
