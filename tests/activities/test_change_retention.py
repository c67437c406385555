"""The change log is let go: what is too old and was carried and counted, once, at every cluster that can be reached."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import asyncpg
import pytest
import pytest_asyncio

from activities.metering import Cycle
from activities.shared import Subject
from core.ids import Ulid, new
from db.data import changes
from tests import months, seeds
from tests.activities.conftest import Money, run
from tests.conftest import CLUSTER_ID, Databases, own_databases
from tests.parts import Mails, Sandbox
from workers.relay import ChangeRelay

SUBJECT = Subject(operation_id=new())
AWAY = "eu-9"


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Databases of our own: what others have logged and never relayed would keep its months."""
    yield from own_databases(tmp_path_factory)


@pytest_asyncio.fixture(scope="module")
async def money(databases: Databases, sandbox: Sandbox, mails: Mails) -> AsyncIterator[Money]:
    """The activities on these databases."""
    made = Money(databases, sandbox, mails)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def owner(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """The data's owner, with a log of nine months, a change in each, of which all was relayed."""
    async with databases.own("data") as conn:
        await conn.execute("update platform.identity set changes_kept_days = 90")
        await months.make(conn, *range(1, 9))
        for ago in range(1, 9):
            await months.change(conn, new(), months.last_hour(ago))
        await months.relayed(conn)
        yield conn


def too_old() -> set[str]:
    """Name the months that are past 90 days: the third and fourth one back may be, as the day is."""
    return {f"{months.month(ago):%Y-%m}" for ago in range(5, 9)}


async def test_months_past_what_is_kept_are_dropped_and_a_second_run_finds_none(
    money: Money, owner: asyncpg.Connection
) -> None:
    before = await months.there(owner)
    first = await run(money.partitions.drop_change_partitions, SUBJECT)
    gone = before - await months.there(owner)
    assert too_old() <= gone
    assert f"{months.month(2):%Y-%m}" not in gone
    assert (first.partitions, first.still_needed, first.clusters_missed) == (len(gone), {}, [])
    again = await run(money.partitions.drop_change_partitions, SUBJECT)
    assert (again.partitions, again.still_needed, again.clusters_missed) == (0, {}, [])
    assert await months.there(owner) == before - gone


async def test_what_one_step_makes_the_other_does_not_drop(money: Money, owner: asyncpg.Connection) -> None:
    await months.keep(owner, 1)
    assert (await run(money.partitions.drop_change_partitions, SUBJECT)).partitions == 7
    assert (await run(money.partitions.ensure_change_partitions, SUBJECT)).made == 0
    assert (await run(money.partitions.drop_change_partitions, SUBJECT)).partitions == 0


async def test_what_is_needed_is_told_and_goes_when_it_is_not_any_more(
    money: Money, owner: asyncpg.Connection
) -> None:
    """One month in the way keeps all that come after it: the log has no holes."""
    await owner.execute("update platform.relay_cursors set xid = '0', seq = 0")
    held = await run(money.partitions.drop_change_partitions, SUBJECT)
    assert held.still_needed == {CLUSTER_ID: f"{months.month(8):%Y-%m}: relay"}
    assert held.partitions == 0
    await months.relayed(owner)
    after = await run(money.partitions.drop_change_partitions, SUBJECT)
    assert (after.partitions >= 4, after.still_needed) == (True, {})


async def test_a_cluster_that_is_away_or_busy_waits_for_tomorrow(
    databases: Databases, money: Money, owner: asyncpg.Connection
) -> None:
    async with databases.own("control") as control:
        await control.execute(
            "insert into control.clusters (id, host, port, database, region, class)"
            " values ($1, '127.0.0.1', 1, 'data', 'eu', 'shared')",
            AWAY,
        )
        try:
            before = await months.there(owner)
            async with databases.own("data") as reader, reader.transaction():
                # An export that reads the whole log, for hours.
                await reader.fetch("select from platform.changes")
                missed = await run(money.partitions.drop_change_partitions, SUBJECT)
            assert (missed.clusters_missed, missed.partitions) == ([AWAY, CLUSTER_ID], 0)
            assert await months.there(owner) == before
            dropped = await run(money.partitions.drop_change_partitions, SUBJECT)
            assert (dropped.clusters_missed, dropped.partitions >= 4) == ([AWAY], True)
        finally:
            await control.execute("delete from control.clusters where id = $1", AWAY)


async def test_a_database_that_is_no_cluster_yet_is_left_alone(
    money: Money, owner: asyncpg.Connection
) -> None:
    await owner.execute("create table public.was as select * from platform.identity")
    await owner.execute("delete from platform.identity")
    try:
        before = await months.there(owner)
        assert (await run(money.partitions.drop_change_partitions, SUBJECT)).partitions == 0
        assert await months.there(owner) == before
    finally:
        await owner.execute("insert into platform.identity select * from public.was")
        await owner.execute("drop table public.was")


async def test_nothing_is_dropped_before_it_is_on_the_bill(
    databases: Databases, money: Money, owner: asyncpg.Connection
) -> None:
    tenant = await seeds.tenant(databases, with_table=True)
    at = months.last_hour(7)
    for version in range(3):
        await months.change(owner, tenant.id, at, record_id=new(), version=version + 1)
    cycle = Cycle(operation_id=new(), period=datetime.now(UTC))
    held = await run(money.partitions.drop_change_partitions, SUBJECT)
    assert held.still_needed == {CLUSTER_ID: f"{at:%Y-%m}: relay"}
    await run(money.metering.count_usage, cycle)
    assert await counted(databases, tenant.id) == []
    await relay(money)
    dropped = await run(money.partitions.drop_change_partitions, SUBJECT)
    assert (dropped.partitions >= 3, dropped.still_needed) == (True, {})
    await run(money.metering.count_usage, cycle)
    assert await counted(databases, tenant.id) == [(at.date().replace(day=1), 3)]
    # What is counted was carried, and stays so when the cycle comes again.
    await run(money.metering.count_usage, cycle)
    assert await counted(databases, tenant.id) == [(at.date().replace(day=1), 3)]


async def relay(money: Money) -> None:
    """Carry all there is, as the relay does."""
    parts = money.partitions
    loop = ChangeRelay(CLUSTER_ID, parts._data, parts._control, parts._activity)
    async with parts._data.connection(CLUSTER_ID) as conn:
        at = await changes.cursor(conn)
        while (moved := await loop.carry(conn, at)) != at:
            at = moved


async def counted(databases: Databases, tenant_id: Ulid) -> list[tuple[object, int]]:
    """Return the months that a tenant's runs were counted for."""
    found = await seeds.rows(
        databases, "control", "select month, runs_used from control.usage_counters where tenant_id = $1", tenant_id
    )  # fmt: skip
    return [(row["month"], row["runs_used"]) for row in found]
