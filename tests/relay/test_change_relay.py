"""The relay of the change log: nothing lost, nothing twice, whatever is under way or ends in the middle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from core.ids import new
from db import engines
from db.data import changes
from db.router import Clusters
from db.sessions import ActivitySession, ControlSession, sessions
from tests import seeds
from tests.conftest import CLUSTER_ID, Databases
from workers.relay import ChangeRelay

ROLE = "maintenance_worker"


class Killed(BaseException):
    """The process is gone."""


class World:
    """A relay with its databases."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        self._pools = [engines.engine(databases.secret(ROLE, name)) for name in ("control", "activity")]
        self.control = sessions(self._pools[0], ControlSession)
        self.activity = sessions(self._pools[1], ActivitySession)
        self.data = Clusters(self.control, ROLE, SecretStr(databases.passwords[ROLE]))

    def relay(self, max_rows: int = 500, max_bytes: int = 4_000_000) -> ChangeRelay:
        return ChangeRelay(
            CLUSTER_ID, self.data, self.control, self.activity, max_rows=max_rows, max_bytes=max_bytes
        )

    @asynccontextmanager
    async def running(self, relay: ChangeRelay) -> AsyncIterator[None]:
        """Keep the relay running, and let it finish what it can reach at the end."""
        stop = asyncio.Event()
        task = asyncio.create_task(relay.run(stop))
        try:
            yield
            await self.drained()
        finally:
            stop.set()
            await asyncio.wait_for(task, 10)

    async def drained(self, timeout_s: float = 20) -> None:
        """Wait until the cursor has passed every row that is there now."""
        async with self.databases.own("data") as conn:

            async def nothing_left() -> bool:
                at = await changes.cursor(conn)
                rest = await conn.fetchval(
                    "select count(*) from platform.changes where (xid, seq) > ($1::text::xid8, $2)",
                    str(at.xid), at.seq,
                )  # fmt: skip
                return bool(rest == 0)

            await seeds.until(nothing_left, timeout_s)

    async def drain(self, relay: ChangeRelay) -> int:
        """Carry by hand until nothing moves; returns the number of batches."""
        batches = 0
        async with self.data.connection(CLUSTER_ID) as conn:
            at = await changes.cursor(conn)
            while (moved := await relay.carry(conn, at)) != at:
                at, batches = moved, batches + 1
        return batches

    async def events(self, tenant_id: str) -> list[dict[str, Any]]:
        return await seeds.rows(
            self.databases, "activity",
            "select * from activity.resource_events where tenant_id = $1 order by occurred_at, id", tenant_id,
        )  # fmt: skip

    async def runs(self, tenant_id: str) -> list[int]:
        rows = await seeds.rows(
            self.databases, "control",
            "select quantity from control.usage_events where tenant_id = $1 and meter = 'runs'"
            " order by quantity", tenant_id,
        )  # fmt: skip
        return [row["quantity"] for row in rows]

    async def close(self) -> None:
        await self.data.close()
        for pool in self._pools:
            await pool.dispose()


@pytest_asyncio.fixture
async def world(databases: Databases) -> AsyncIterator[World]:
    made = World(databases)
    await made.drain(made.relay())
    yield made
    await made.close()


async def write(conn: asyncpg.Connection, tenant: seeds.Tenant, *values: str) -> list[str]:
    ids = [str(new()) for _ in values]
    await conn.execute(
        f'insert into {tenant.table} (id, "f_{tenant.field_id}")'
        " select * from unnest($1::text[], $2::text[])",
        ids, list(values),
    )  # fmt: skip
    return ids


async def test_each_change_is_one_event_and_each_transaction_one_use(world: World) -> None:
    tenant = await seeds.tenant(world.databases, with_table=True)
    async with world.databases.own("data") as conn:
        async with conn.transaction():
            await conn.execute(
                "select set_config('pb.writer', concat_ws(' ', 1, 'local', 1, $3::text, $2::text, $1::text), true)",
                tenant.workspace_id, tenant.base_id, tenant.table_id,
            )  # fmt: skip
            one, _ = await write(conn, tenant, "a", "b")
        await conn.execute(
            f"update {tenant.table} set version = version + 1, \"f_{tenant.field_id}\" = 'c' where id = $1",
            one,
        )
        await conn.execute(f"delete from {tenant.table} where id = $1", one)
        changed = await conn.fetch(
            "select * from platform.changes where tenant_id = $1 order by xid, seq", tenant.id
        )

    await world.drain(world.relay())

    events = await world.events(tenant.id)
    assert [event["action"] for event in events] == [
        "RECORD_CREATE", "RECORD_CREATE", "RECORD_UPDATE", "RECORD_DELETE",
    ]  # fmt: skip
    mine = [event for event in events if event["resource_id"] == one]
    assert [event["diff_json"] for event in mine] == [
        {tenant.field_id: {"after": "a"}},
        {tenant.field_id: {"before": "a", "after": "c"}},
        {tenant.field_id: {"before": "c"}},
    ]
    assert [event["version"] for event in mine] == [1, 2, 3]
    created = mine[0]
    assert (created["actor_user_id"], created["actor_token_id"], created["operation_id"]) == (
        tenant.workspace_id, tenant.base_id, tenant.table_id,
    )  # fmt: skip
    assert (created["workspace_id"], created["base_id"], created["resource_type"]) == (
        tenant.workspace_id, tenant.base_id, "record",
    )  # fmt: skip
    assert created["occurred_at"] == changed[0]["changed_at"]
    assert await world.runs(tenant.id) == [1, 1, 2]


async def test_nothing_is_lost_or_doubled_while_many_write_and_relays_come_and_go(world: World) -> None:
    tenants = [await seeds.tenant(world.databases, with_table=True) for _ in range(2)]
    written = dict.fromkeys((tenant.id for tenant in tenants), 0)

    async def writer(number: int) -> None:
        tenant = tenants[number % 2]
        async with world.databases.own("data") as conn:
            for turn in range(25):
                async with conn.transaction():
                    for _ in range(1 + (number + turn) % 3):
                        await write(conn, tenant, *("x" * (1 + turn % 4)))
                        # Transactions overlap, so that later numbers commit before earlier ones.
                        await asyncio.sleep(0.002 * (number % 4))
                written[tenant.id] += (1 + (number + turn) % 3) * (1 + turn % 4)

    async def restarting() -> None:
        while True:
            async with world.running(world.relay(max_rows=17)):
                await asyncio.sleep(0.2)

    async with world.running(world.relay(max_rows=40)):
        other = asyncio.create_task(restarting())
        await asyncio.gather(*(writer(number) for number in range(8)))
        other.cancel()
        await asyncio.wait([other])

    for tenant in tenants:
        assert len(await world.events(tenant.id)) == written[tenant.id]
        assert sum(await world.runs(tenant.id)) == written[tenant.id]


async def test_a_transaction_under_way_holds_the_cursor_and_nothing_of_it_is_missed(world: World) -> None:
    tenant = await seeds.tenant(world.databases, with_table=True)
    async with world.databases.own("data") as slow, world.databases.own("data") as quick:
        open_ = slow.transaction()
        await open_.start()
        await write(slow, tenant, "early number, late commit")
        await write(quick, tenant, "late number, early commit")
        await world.drain(world.relay())
        assert await world.events(tenant.id) == []
        async with world.data.connection(CLUSTER_ID) as conn:
            assert await changes.held_back_s(conn, await changes.cursor(conn)) > 0
        await open_.commit()
    await world.drain(world.relay())
    assert len(await world.events(tenant.id)) == 2


@pytest.mark.parametrize("after", ["activity", "usage"])
async def test_a_relay_that_dies_before_its_cursor_moves_repeats_and_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    tenant = await seeds.tenant(world.databases, with_table=True)
    async with world.databases.own("data") as conn:
        await write(conn, tenant, "a", "b", "c")

    async def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("db.data.changes.move" if after == "usage" else "db.control.usage_events.add", die)
        with pytest.raises(Killed):
            await world.drain(world.relay())
    assert len(await world.events(tenant.id)) == 3
    assert await world.runs(tenant.id) == ([3] if after == "usage" else [])

    await world.drain(world.relay())
    assert len(await world.events(tenant.id)) == 3
    assert await world.runs(tenant.id) == [3]


@pytest.mark.parametrize("bound", [{"max_rows": 7}, {"max_bytes": 400}])
async def test_a_transaction_over_the_bound_goes_in_pages_and_counts_once(
    world: World, bound: dict[str, int]
) -> None:
    tenant = await seeds.tenant(world.databases, with_table=True)
    async with world.databases.own("data") as conn:
        await write(conn, tenant, "before")
        await write(conn, tenant, *(f"value {number}" for number in range(40)))
        await write(conn, tenant, "after")
    batches = await world.drain(world.relay(**bound))
    assert batches > 4
    assert len(await world.events(tenant.id)) == 42
    assert await world.runs(tenant.id) == [1, 1, 40]


async def test_a_batch_is_bounded_by_what_it_holds_not_by_what_it_takes_on_disk(world: World) -> None:
    tenant = await seeds.tenant(world.databases, with_table=True)
    async with world.databases.own("data") as conn:
        for _ in range(20):
            await write(conn, tenant, "x" * 900_000)  # a hundredth of that, compressed
        at = await changes.cursor(conn)
        taken = 0
        while (batch := await changes.take(conn, at, 500, 4_000_000)).cursor != at:
            assert sum(len(event.row) for event in batch.events) <= 4_000_000
            taken, at = taken + len(batch.events), batch.cursor
    assert taken == 20
    await world.drain(world.relay())
    assert len(await world.events(tenant.id)) == 20


async def test_transactions_that_fit_are_never_split(world: World) -> None:
    tenant = await seeds.tenant(world.databases, with_table=True)
    async with world.databases.own("data") as conn:
        for _ in range(6):
            await write(conn, tenant, "a", "b", "c")
        at = await changes.cursor(conn)
        while True:
            batch = await changes.take(conn, at, 7, 4_000_000)
            if batch.cursor == at:
                break
            assert len(batch.events) in (3, 6)
            assert sum(written.records for written in batch.written) == len(batch.events)
            at = batch.cursor


async def test_changes_of_another_cluster_move_the_cursor_and_nothing_else(world: World) -> None:
    tenant = await seeds.tenant(world.databases)
    async with world.databases.own("data") as conn:
        await conn.execute(
            "insert into platform.changes (tenant_id, generation, origin, workspace_id, base_id, table_id,"
            " record_id, version, action, after) values ($1, 1, 'eu-2', $1, $1, $1, $1, 1, 'create', '{}')",
            tenant.id,
        )
        before = await changes.cursor(conn)
        await world.drain(world.relay())
        assert await changes.cursor(conn) > before
    assert await world.events(tenant.id) == []
    assert await world.runs(tenant.id) == []


async def test_a_row_of_a_month_without_partition_is_kept_beside(world: World) -> None:
    tenant = await seeds.tenant(world.databases)
    long_ago = datetime(2019, 5, 1, tzinfo=UTC)
    async with world.databases.own("data") as conn:
        await conn.execute("select platform.ensure_partitions('2019-05-01', 0)")
        await conn.execute(
            "insert into platform.changes (tenant_id, generation, origin, workspace_id, base_id, table_id,"
            " record_id, version, action, after, changed_at)"
            " values ($1, 1, $2, $1, $1, $1, $1, 1, 'create', '{}', $3)",
            tenant.id, CLUSTER_ID, long_ago,
        )  # fmt: skip
    await world.drain(world.relay())
    late = await seeds.rows(
        world.databases, "activity",
        "select occurred_at from activity.resource_events_late where tenant_id = $1", tenant.id,
    )  # fmt: skip
    assert late == [{"occurred_at": long_ago}]


async def test_one_relay_at_a_time(world: World) -> None:
    async with (
        world.databases.connect(ROLE, "data") as first,
        world.databases.connect(ROLE, "data") as second,
    ):
        assert await changes.try_lock(first)
        assert not await changes.try_lock(second)
        await first.close()
        await seeds.until(lambda: changes.try_lock(second))


async def test_an_idle_relay_writes_nothing(world: World) -> None:
    async with world.databases.own("data") as conn:
        before = await conn.fetchval("select pg_snapshot_xmax(pg_current_snapshot())::text")
        await world.drain(world.relay())
        await world.drain(world.relay())
        assert await conn.fetchval("select pg_snapshot_xmax(pg_current_snapshot())::text") == before
