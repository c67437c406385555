"""A field of a type with an order of its own has an index that gives a sorted page without sorting."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from core import ids
from core.record import Field, Table
from core.schema.ops.create_table import CreateTable
from core.schema.spec import BaseSpec
from core.schema.types import TYPES
from db.data import names
from db.data.ddl.apply import apply_step, statements
from db.data.ddl.online import StillBuilding
from db.data.listing import Listing
from tests.conftest import Databases
from tests.db.data.homes import Home, home
from tests.db.data.test_ddl import EVERY_TYPE, changed, table

ROWS = 20_000
LIMIT = 100
MOMENT = "2020-01-01T03:00:00Z"


@pytest.fixture
async def base(databases: Databases) -> AsyncIterator[Home]:
    async with home(databases) as made:
        yield made


def more(spec: BaseSpec, **field: Any) -> dict[str, Any]:
    """Return the spec with one field more in its first table."""
    plain = spec.model_dump(mode="json")
    plain["tables"][0]["fields"].append(field)
    return plain


async def indexes(base: Home) -> dict[str, tuple[str, bool, int]]:
    """Return what each index in the order of a field covers, whether it is valid, and its oid."""
    rows = await base.conn.fetch(
        "select c.relname, pg_get_indexdef(c.oid) as text, i.indisvalid, c.oid from pg_index i"
        " join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = $1 and c.relname like 'o\\_%'",
        names.schema_name(base.target.tenant_id),
    )
    return {
        row["relname"]: (row["text"].partition(" USING ")[2], row["indisvalid"], row["oid"]) for row in rows
    }


async def covered(base: Home) -> dict[str, str]:
    """Return what each of them covers; all of them are valid."""
    found = await indexes(base)
    assert all(valid for _, valid, _ in found.values())
    return {name: columns for name, (columns, _, _) in found.items()}


def expected(spec: BaseSpec) -> dict[str, str]:
    """Return what should be covered: the fields of types that say so."""
    return {
        names.order_name(field.key): f"btree ({names.column_name(field.key)}, id)"
        for made in spec.tables
        for field in made.fields
        if TYPES[field.type].indexed
    }


def test_days_and_moments_are_indexed() -> None:
    assert [name for name, kind in TYPES.items() if kind.indexed] == ["date", "datetime"]


async def test_a_base_changed_step_by_step_has_the_indexes_of_one_made_fresh(
    base: Home, databases: Databases
) -> None:
    await base.want(table())
    for field in EVERY_TYPE:
        await base.want(more(base.spec, **field))
        assert await covered(base) == expected(base.spec)
    assert len(await indexes(base)) == 2
    async with home(databases) as fresh:
        await fresh.take([CreateTable(pointer="", table=made) for made in base.spec.tables])
        assert await fresh.physical() == await base.physical()
        assert await covered(fresh) == expected(base.spec)


async def test_a_rename_keeps_the_index_and_a_dropped_field_takes_it_along(base: Home) -> None:
    await base.want(table({"name": "Day", "type": "date"}, {"name": "At", "type": "datetime"}))
    before = await indexes(base)
    assert len(before) == 2
    await base.want(changed(base.spec, name="Due", required=True))
    assert await indexes(base) == before
    plain = base.spec.model_dump(mode="json")
    del plain["tables"][0]["fields"][0]
    await base.want(plain)
    assert await covered(base) == expected(base.spec)
    assert len(await indexes(base)) == 1


async def test_an_added_fields_index_is_undone_with_it(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    await base.fill("a")
    before = await base.physical(), await base.read()
    plan = base.plan(more(base.spec, name="Day", type="date"))
    assert [step.kind for step in plan.steps] == ["add_field", "index_field"]
    operation = await base.take(plan.steps)
    await base.undo(plan.steps, operation)
    assert (await base.physical(), await base.read()) == before


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        (False, True, ["index_field", "change_type"]),
        (True, False, ["change_type"]),
        (True, True, ["change_type"]),
        (False, False, ["change_type"]),
    ],
)
@pytest.mark.parametrize(
    ("old_type", "new_type"), [("integer", "number"), ("email", "text")], ids=["rewritten", "as it was"]
)
async def test_a_change_of_type_makes_the_index_or_drops_it(
    base: Home,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    old_type: str,
    new_type: str,
    old: bool,
    new: bool,
    kinds: list[str],
) -> None:
    monkeypatch.setattr(type(TYPES[old_type]), "indexed", old)
    monkeypatch.setattr(type(TYPES[new_type]), "indexed", new)
    await base.want(table({"name": "x", "type": old_type}))
    assert len(await covered(base)) == old
    await base.fill(*([1, None] if old_type == "integer" else ["a@example.org", None]))
    plan = await base.want(changed(base.spec, type=new_type, options={}))
    assert [step.kind for step in plan.steps] == kinds
    assert await covered(base) == expected(base.spec)
    async with home(databases) as fresh:
        await fresh.take([CreateTable(pointer="", table=made) for made in base.spec.tables])
        assert await fresh.physical() == await base.physical()


async def test_an_index_that_was_built_before_the_crash_is_not_built_again(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    add, index = base.plan(more(base.spec, name="Day", type="date")).steps
    operation = ids.new()
    await apply_step(base.conn, base.target, operation, 0, add)
    (create,) = statements(index, base.target)
    await base.conn.execute("set role tenant_owner")
    await base.conn.execute(create)
    await base.conn.execute("reset role")
    built = await indexes(base)
    assert await apply_step(base.conn, base.target, operation, 1, index)
    assert not await apply_step(base.conn, base.target, operation, 1, index)
    assert await indexes(base) == built


async def test_an_index_that_was_being_built_at_the_crash_is_built_again(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    plan = base.plan(more(base.spec, name="Day", type="date"))
    add, index = plan.steps
    operation = ids.new()
    await apply_step(base.conn, base.target, operation, 0, add)
    connect = base.databases.connect
    async with (
        connect("schema_worker", "data") as blocker,
        blocker.transaction(isolation="repeatable_read"),
        connect("schema_worker", "data") as killed,
    ):
        await blocker.execute("set local role tenant_owner")
        await blocker.fetch(f"select * from {base.table()}")
        attempt = asyncio.create_task(apply_step(killed, base.target, operation, 1, index))
        await base.until_building(killed.get_server_pid())
        with pytest.raises(StillBuilding):
            await apply_step(base.conn, base.target, operation, 1, index)
        async with base.databases.administer() as killer:
            await killer.execute("select pg_terminate_backend($1)", killed.get_server_pid())
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
            await attempt
    assert [valid for _, valid, _ in (await indexes(base)).values()] == [False]
    assert await apply_step(base.conn, base.target, operation, 1, index)
    assert await covered(base) == expected(plan.spec)


# A page is read from the index ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def large(databases: Databases) -> AsyncIterator[Home]:
    """A table of 20,000 records, a twentieth of them without values, every day shared by twenty."""
    async with home(databases) as base:
        await base.want(table({"name": "Day", "type": "date"}, {"name": "At", "type": "datetime"}))
        days = [None if n % 20 == 0 else date(2020, 1, 1) + timedelta(days=n % 997) for n in range(ROWS)]
        start = datetime(2020, 1, 1, tzinfo=UTC)
        moments = [None if n % 20 == 0 else start + timedelta(seconds=n * 7919 % ROWS) for n in range(ROWS)]
        async with base.owner():
            await base.conn.execute(
                f"insert into {base.table()} (id, {base.column(0)}, {base.column(1)})"
                " select * from unnest($1::text[], $2::date[], $3::timestamptz[])",
                [*map(str, ids.batch(ids.new(), ROWS))],
                days,
                moments,
            )
            await base.conn.execute(f"analyze {base.table()}")
        yield base


def readable(base: Home) -> Table:
    """Return the first table as the record path knows it."""
    spec, target = base.spec.tables[0], base.target
    fields = tuple(Field(field.key, field.name, field.kind, field.settings) for field in spec.fields)
    return Table(target.tenant_id, target.base_id, spec.key, spec.name, 1, fields)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("sort", "after"),
    [
        (sort, after)
        for name, value in (("Day", "2021-05-05"), ("At", MOMENT), ("created_at", MOMENT))
        for sort in (name, f"-{name}")
        for after in (None, value)
    ],
)
async def test_a_sorted_page_is_read_from_the_index_and_no_further_than_it_goes(
    large: Home, sort: str, after: str | None, mode: str
) -> None:
    place: list[str | None] | None = None if after is None else [after, ids.new()]
    scans = await scans_of(large, Listing(readable(large), sort, None, None), place, mode)
    assert {node.get("Index Name") for node in scans} == {index_of(large, sort.removeprefix("-"))}
    assert all(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= LIMIT + 1 for node in scans)


@pytest.mark.parametrize("condition", ["and(Day.gte.2021-05-05,Day.lt.2021-05-12)", "Day.eq.2021-05-05"])
async def test_a_filter_by_a_day_reads_no_record_of_another(large: Home, condition: str) -> None:
    listing = Listing(readable(large), None, condition, None)
    scans = await scans_of(large, listing, None, "force_custom_plan")  # with a filter no plan is kept
    assert index_of(large, "Day") in {node.get("Index Name") for node in scans}
    assert not any(node.get("Rows Removed by Filter") for node in scans)


async def scans_of(
    large: Home, listing: Listing, place: list[str | None] | None, mode: str
) -> list[dict[str, Any]]:
    """Run a page as a member, and return what of its plan reads the table or an index of it."""
    params = {"limit": LIMIT, "q": listing.values, "after": place}
    sql = listing.statement(place, LIMIT).sql
    async with large.databases.connect("data_api", "data") as conn, large.as_member(conn, role="viewer"):
        await conn.execute(f"set local plan_cache_mode = {mode}; prepare page (jsonb, jsonb) as {sql}")
        text = json.dumps(params).replace("'", "''")
        answer = await conn.fetchval(
            f"explain (analyze, format json) execute page ('{text}'::jsonb, '{{}}'::jsonb)"
        )
    plan = json.loads(answer)[0]["Plan"]
    return [node for node in nodes(plan) if "Relation Name" in node or "Index Name" in node]


def index_of(large: Home, name: str) -> str:
    """Return the index in the order of a field of the first table, or of creation."""
    fields = {field.name: names.order_name(field.key) for field in large.spec.tables[0].fields}
    return fields.get(name, names.created_name(large.spec.tables[0].key))
