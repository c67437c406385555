"""Fields that the tenant does not write: no column for what every record has, a sequence for what is counted."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from core import ids
from core.errors import Conflict
from core.schema.ops import Lock
from core.schema.ops.add_field import AddField
from core.schema.spec import FieldSpec
from db.data import names
from db.data.ddl import retype
from db.data.ddl.apply import preflight, statements
from tests.conftest import Databases
from tests.db.data.homes import Home, home

AUDIT = [
    {"name": f"My {kind}", "type": kind} for kind in ("created_at", "created_by", "updated_at", "updated_by")
]
NUMBER = {"name": "No", "type": "autonumber"}
TEXT = {"name": "x", "type": "text"}


@pytest.fixture
async def base(databases: Databases) -> AsyncIterator[Home]:
    async with home(databases) as made:
        yield made


def table(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"tables": [{"name": "Items", "fields": list(fields)}]}


async def sequences(base: Home) -> list[tuple[str, str, int]]:
    """Return the sequences of the tenant with the column that owns each and what the next number is."""
    rows = await base.conn.fetch(
        """select s.relname, a.attname, coalesce(q.last_value + 1, q.start_value) as following
             from pg_class s join pg_depend d on d.objid = s.oid and d.deptype = 'i'
             join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
             join pg_namespace n on n.oid = s.relnamespace
             join pg_sequences q on q.schemaname = n.nspname and q.sequencename = s.relname
            where s.relkind = 'S' and n.nspname = $1""",
        names.schema_name(base.target.tenant_id),
    )
    return [tuple(row) for row in rows]


async def test_what_every_record_has_takes_no_column_and_comes_and_goes_without_ddl(base: Home) -> None:
    await base.want(table(TEXT))
    await base.fill("a", "b")
    before = await base.physical()
    for desired in (
        table(TEXT, *AUDIT),
        table(TEXT, *({**field, "name": f"{field['name']}!"} for field in AUDIT)),
        table(TEXT),
    ):
        plan = base.plan(desired)
        assert {step.locks() for step in plan.steps} <= {Lock.NOTHING}
        assert not any("alter table" in sql for step in plan.steps for sql in statements(step, base.target))
        await base.want(desired)
        assert await base.read() == base.spec
        assert await base.physical() == before


async def test_a_table_made_with_them_has_them_as_one_changed_to_them(base: Home) -> None:
    plan = await base.want(table(*AUDIT, NUMBER))
    assert await base.read() == plan.spec
    assert names.column_name(plan.spec.tables[0].fields[4].key) in await base.physical()
    assert names.column_name(plan.spec.tables[0].fields[0].key) not in await base.physical()


async def test_records_that_are_there_are_numbered_as_they_were_made(base: Home) -> None:
    await base.want(table(TEXT))
    made = ids.batch(ids.new(), 40)
    async with base.owner():
        # On the disk they lie in another order.
        for record_id in (*made[20:], *made[:20]):
            await base.conn.execute(f"insert into {base.table()} (id) values ($1)", record_id)
    logged = "select count(*) from platform.changes where tenant_id = $1"
    async with base.databases.own("data") as conn:
        before = await conn.fetchval(logged, base.target.tenant_id)
        await base.want(table(TEXT, NUMBER))
        assert await conn.fetchval(logged, base.target.tenant_id) == before
    column = base.column(1)
    async with base.owner():
        rows = await base.conn.fetch(f"select id, {column} as n, version from {base.table()} order by id")
        assert [(row["id"], row["n"], row["version"]) for row in rows] == [
            (record_id, n, 1) for n, record_id in enumerate(made, 1)
        ]
        await base.conn.execute(f"update {base.table()} set version = 2 where id = $1", made[0])
    async with base.databases.own("data") as conn:
        # The log goes on: the trigger that was off is on again.
        assert await conn.fetchval(logged, base.target.tenant_id) == before + 1
    assert [owner for _, owner, _ in await sequences(base)] == [column.strip('"')]
    async with base.databases.connect("data_api", "data") as conn, base.as_member(conn):
        taken = await conn.fetchval(
            f"insert into {base.table()} (id) values ($1) returning {column}", ids.new()
        )
    assert taken == len(made) + 1


async def test_the_first_number_of_an_empty_table_is_one(base: Home) -> None:
    await base.want(table(TEXT))
    await base.want(table(TEXT, NUMBER))
    await base.fill("a", "b")
    async with base.owner():
        rows = await base.conn.fetch(f"select {base.column(1)} as n from {base.table()} order by n")
    assert [row["n"] for row in rows] == [1, 2]


async def test_a_table_too_large_to_be_numbered_is_refused(
    base: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    await base.want(table(TEXT))
    await base.fill("a", "b", "c")
    plan = base.plan(table(TEXT, NUMBER))
    assert [step.locks() for step in plan.steps] == [Lock.REWRITE]
    await preflight(base.conn, base.target, plan)
    monkeypatch.setattr(retype, "MAX_REWRITE_ROWS", 2)
    with pytest.raises(Conflict) as refused:
        await preflight(base.conn, base.target, plan)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [
        ("/tables/0/fields/1", "table_too_large")
    ]


async def test_numbering_undone_leaves_neither_column_nor_sequence(base: Home) -> None:
    await base.want(table(TEXT))
    await base.fill("a", "b")
    before = await base.physical()
    plan = base.plan(table(TEXT, NUMBER))
    operation = await base.take(plan.steps)
    assert await sequences(base)
    await base.undo(plan.steps, operation)
    assert await base.physical() == before
    assert await sequences(base) == []


async def test_a_dropped_number_takes_its_sequence_along(base: Home) -> None:
    await base.want(table(TEXT, NUMBER))
    assert len(await sequences(base)) == 1
    await base.want(table(TEXT))
    assert await sequences(base) == []


async def test_a_tenant_may_take_a_number_and_nothing_else(base: Home) -> None:
    await base.want(table(TEXT, NUMBER))
    sequence = names.sequence(base.target.tenant_id, base.spec.tables[0].fields[1].key)
    async with base.databases.connect("data_api", "data") as conn:
        async with base.as_member(conn):
            assert await conn.fetchval(f"select nextval('{sequence}')") == 1
        for denied in (f"select setval('{sequence}', 7)", f"select last_value from {sequence}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with base.as_member(conn, role="owner"):
                    await conn.execute(denied)
    async with home(base.databases) as other:
        await other.want(table(TEXT, NUMBER))
        async with base.databases.connect("data_api", "data") as conn:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with other.as_member(conn):
                    await conn.execute(f"select nextval('{sequence}')")


async def test_one_number_is_never_there_twice(base: Home) -> None:
    await base.want(table(TEXT, NUMBER))
    await base.fill("a")
    async with base.owner():
        with pytest.raises(asyncpg.UniqueViolationError):
            await base.conn.execute(
                f"insert into {base.table()} (id, {base.column(1)}) values ($1, 1)", ids.new()
            )


def test_a_step_says_what_it_locks() -> None:
    def lock(kind: str) -> Lock:
        field = FieldSpec(id=ids.new(), name="a", type=kind)
        return AddField(pointer="", table_id=ids.new(), table="T", field=field).locks()

    assert (lock("text"), lock("created_by"), lock("autonumber")) == (
        Lock.MOMENT,
        Lock.NOTHING,
        Lock.REWRITE,
    )
