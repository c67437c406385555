"""Each step makes in PostgreSQL what it says, once, and undoes it to the last byte of the catalogue."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import ids
from core.errors import Conflict, Invalid, StaleRoute
from core.schema.ops import OPS
from core.schema.ops.create_table import CreateTable
from core.schema.plan import Plan
from core.schema.spec import BaseSpec
from db.data import names
from db.data.ddl import DDL, bases, retype
from db.data.ddl.apply import apply_step, preflight, statements, undo_step
from db.data.ddl.online import StillBuilding
from tests.conftest import Databases
from tests.core.schema.strategies import changes
from tests.db.data.homes import Home, another_base, home

CHOICES = {"choices": [{"name": "red"}, {"name": "green"}]}
EVERY_TYPE: list[dict[str, Any]] = [
    {"name": "text", "type": "text", "required": True, "unique": True},
    {"name": "long", "type": "long_text"},
    {"name": "int", "type": "integer"},
    {"name": "num", "type": "number", "options": {"precision": 10, "scale": 2}},
    {"name": "bool", "type": "boolean"},
    {"name": "date", "type": "date"},
    {"name": "when", "type": "datetime"},
    {"name": "one", "type": "single_select", "options": CHOICES},
    {"name": "many", "type": "multi_select", "options": CHOICES},
    {"name": "mail", "type": "email"},
    {"name": "web", "type": "url"},
    {"name": "json", "type": "json"},
    {"name": "rich", "type": "rich_text"},
    {"name": "money", "type": "currency", "options": {"code": "EUR"}},
    {"name": "share", "type": "percent", "options": {"scale": 4}},
    {"name": "took", "type": "duration"},
    {"name": "phone", "type": "phone", "unique": True},
    {"name": "stars", "type": "rating"},
    {"name": "uuid", "type": "uuid", "unique": True},
    {"name": "user", "type": "user"},
]


@pytest.fixture
async def base(databases: Databases) -> AsyncIterator[Home]:
    async with home(databases) as made:
        yield made


def table(*fields: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"tables": [{"name": "Items", "fields": list(fields), **members}]}


def changed(spec: BaseSpec, **members: Any) -> dict[str, Any]:
    """Return the spec with members of the first field changed."""
    plain = spec.model_dump(mode="json")
    plain["tables"][0]["fields"][0] |= members
    return plain


def _more(spec: BaseSpec) -> dict[str, Any]:
    """Return the spec with one field more in its first table."""
    plain = spec.model_dump(mode="json")
    plain["tables"][0]["fields"].append({"name": "more", "type": "integer"})
    return plain


async def _make(base: Home, spec: BaseSpec) -> None:
    """Make an empty base that has the spec's own ids."""
    await base.take([CreateTable(pointer="", table=made) for made in spec.tables])


def test_every_operation_has_its_sql() -> None:
    assert set(DDL) == set(OPS)
    for kind, op in OPS.items():
        assert (DDL[kind].down is not None) == op.reversible, kind
        assert (DDL[kind].index is None) == op.transactional, kind


async def test_a_new_table_has_its_columns_walls_and_triggers(base: Home) -> None:
    plan = await base.want(
        table(*EVERY_TYPE, views=[{"name": "All", "kind": "grid", "definition": {"a": [1]}}])
    )
    assert await base.read() == plan.spec
    async with base.owner():
        columns = await base.conn.fetch(
            "select attname, format_type(atttypid, atttypmod) as type from pg_attribute"
            " where attrelid = $1::regclass and attnum > 0 order by attnum",
            base.table(),
        )
    types = [row["type"] for row in columns]
    when = "timestamp with time zone"
    assert types[:7] == ["text", "bigint", when, "text", when, "text", "jsonb"]
    assert types[7:] == [
        "text", "text", "bigint", "numeric(10,2)", "boolean", "date", when, "text", "text[]", "text", "text", "jsonb",
        "text", "bigint", "numeric(16,4)", "numeric(15,3)", "text", "smallint", "uuid", "text",
    ]  # fmt: skip
    physical = await base.physical()
    assert '"security", "", "true true tenant_owner"' in physical
    assert physical.count('"policy"') == 4
    assert physical.count('"trigger"') == 3


async def test_a_member_writes_within_the_claims_and_every_change_is_logged(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    one = ids.new()
    async with base.databases.connect("data_api", "data") as conn:
        async with base.as_member(conn):
            await conn.execute(f"insert into {base.table()} (id, {base.column()}) values ($1, 'a')", one)
            await conn.execute(f"update {base.table()} set {base.column()} = 'b', version = 2")
            await conn.execute(f"delete from {base.table()}")
        async with base.as_member(conn):
            log = await conn.fetch("select action, version, after from platform.changes order by version")
    assert [(row["action"], row["version"]) for row in log] == [("create", 1), ("update", 2), ("delete", 3)]
    assert f'"{names.column_name(base.spec.tables[0].fields[0].key)}": "b"' in log[1]["after"]


@pytest.mark.parametrize("claim", ["tenant", "workspace", "base"])
async def test_other_claims_see_and_change_nothing(base: Home, claim: str) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    await base.fill("a")
    async with base.databases.connect("data_api", "data") as conn:
        for value in (ids.new(), ""):
            async with base.as_member(conn, **{claim: value}):
                assert await conn.fetchval(f"select count(*) from {base.table()}") == 0
                assert await conn.execute(f"update {base.table()} set {base.column()} = 'b'") == "UPDATE 0"
                assert await conn.execute(f"delete from {base.table()}") == "DELETE 0"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with base.as_member(conn, **{claim: value}):
                    await conn.execute(f"insert into {base.table()} (id) values ($1)", ids.new())


async def test_a_viewer_reads_and_does_not_write(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    await base.fill("a")
    async with base.databases.connect("data_api", "data") as conn:
        async with base.as_member(conn, role="viewer"):
            assert await conn.fetchval(f"select count(*) from {base.table()}") == 1
            assert await conn.execute(f"delete from {base.table()}") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with base.as_member(conn, role="viewer"):
                await conn.execute(f"insert into {base.table()} (id) values ($1)", ids.new())


@pytest.mark.parametrize("statement", ["truncate {}", "alter table {} add column x int", "drop table {}"])
async def test_a_member_has_no_more_than_four_rights(base: Home, statement: str) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    async with base.databases.connect("data_api", "data") as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with base.as_member(conn, role="owner"):
                await conn.execute(statement.format(base.table()))


@given(changes(), st.data())
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
async def test_changed_equals_fresh_and_undone_equals_before(
    databases: Databases, change: tuple[BaseSpec, Plan], data: st.DataObject
) -> None:
    current, plan = change
    async with home(databases) as base:
        await _make(base, current)
        before = await base.physical(), await base.read()
        assert before[1] == current
        taken = plan.steps[: data.draw(st.integers(0, plan.point_of_no_return))]
        operation = await base.take(taken)
        await base.undo(taken, operation)
        assert (await base.physical(), await base.read()) == before
        await base.take(plan.steps)
        async with home(databases) as fresh:
            await _make(fresh, plan.spec)
            assert await base.read() == plan.spec == await fresh.read()
            assert await base.physical() == await fresh.physical()


async def test_a_step_done_twice_is_done_once(base: Home) -> None:
    plan = base.plan(table({"name": "x", "type": "text"}))
    operation = await base.take(plan.steps)
    before = await base.physical(), await base.catalog_version()
    for step, op in enumerate(plan.steps):
        assert not await apply_step(base.conn, base.target, operation, step, op)
    assert (await base.physical(), await base.catalog_version()) == before


async def test_every_step_counts_up_the_catalog_and_its_tables_version(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    version = await base.catalog_version()
    plan = await base.want(changed(base.spec, name="y", required=True, unique=True))
    assert await base.catalog_version() == version + len(plan.steps)
    async with base.owner():
        rows = names.metadata(base.target.tenant_id, "tables")
        assert await base.conn.fetchval(f"select schema_version from {rows}") == 1 + 3


async def test_two_attempts_at_one_step_do_it_once(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    steps = (*base.plan(_more(base.spec)).steps, *base.plan(changed(base.spec, unique=True)).steps)
    operation = ids.new()

    async def attempt() -> list[bool]:
        async with base.databases.connect("schema_worker", "data") as conn:
            done = []
            for step, op in enumerate(steps):
                for _ in range(100):
                    try:
                        done.append(await apply_step(conn, base.target, operation, step, op))
                        break
                    except (asyncpg.LockNotAvailableError, StillBuilding):
                        await asyncio.sleep(0.02)
            return done

    outcomes = await asyncio.gather(attempt(), attempt(), attempt())
    assert [sorted(done) for done in zip(*outcomes, strict=True)] == [[False, False, True]] * len(steps)


async def test_a_step_waits_briefly_for_a_reader_and_leaves_nothing_half_done(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    plan = base.plan(_more(base.spec))
    before = await base.physical(), await base.catalog_version(), await base.read()
    operation = ids.new()
    async with base.databases.connect("data_api", "data") as conn, base.as_member(conn):
        await conn.fetch(f"select * from {base.table()}")
        async with asyncio.timeout(2):
            with pytest.raises(asyncpg.LockNotAvailableError):
                await apply_step(base.conn, base.target, operation, 0, plan.steps[0])
        assert (await base.physical(), await base.catalog_version(), await base.read()) == before
    assert await apply_step(base.conn, base.target, operation, 0, plan.steps[0])


async def test_an_attempt_at_an_old_home_is_refused(base: Home) -> None:
    (op,) = base.plan(table()).steps
    for generation in (0, 2):
        target = replace(base.target, generation=generation)
        with pytest.raises(StaleRoute):
            await apply_step(base.conn, target, ids.new(), 0, op)
        with pytest.raises(StaleRoute):
            await undo_step(base.conn, target, ids.new(), 0, op)


async def test_an_undone_step_cannot_be_done_by_a_late_attempt(base: Home) -> None:
    (op,) = base.plan(table()).steps
    operation = ids.new()
    assert not await undo_step(base.conn, base.target, operation, 0, op)
    with pytest.raises(Conflict):
        await apply_step(base.conn, base.target, operation, 0, op)
    assert await base.read() == BaseSpec()


async def test_an_undo_that_meets_a_late_attempt_ends_undone(base: Home) -> None:
    (op,) = base.plan(table()).steps
    async with base.databases.connect("schema_worker", "data") as late:
        for _ in range(20):
            operation = ids.new()
            await asyncio.gather(
                apply_step(late, base.target, operation, 0, op),
                undo_step(base.conn, base.target, operation, 0, op),
                return_exceptions=True,
            )
            await undo_step(base.conn, base.target, operation, 0, op)
            assert await base.read() == BaseSpec()
            with pytest.raises(Conflict):
                await apply_step(late, base.target, operation, 0, op)


async def test_a_required_field_is_refused_beside_records_with_its_place(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    await base.fill("a", None)
    plain = base.spec.model_dump(mode="json")
    plain["tables"][0]["fields"].append({"name": "y", "type": "integer", "required": True})
    plan = base.plan(plain)
    before = await base.physical()
    for refused in (preflight(base.conn, base.target, plan), base.take(plan.steps)):
        with pytest.raises(Invalid, match="2 records") as error:
            await refused
        assert error.value.faults[0].pointer == "/tables/0/fields/1"
        assert error.value.reason == "values_missing"
    assert await base.physical() == before


async def test_a_field_is_required_once_every_record_has_a_value(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    await base.fill("a", None)
    plan = base.plan(changed(base.spec, required=True))
    before = await base.physical(), await base.read()
    with pytest.raises(Invalid, match="1 record of"):
        await preflight(base.conn, base.target, plan)
    operation = ids.new()
    await apply_step(base.conn, base.target, operation, 0, plan.steps[0])
    with pytest.raises(asyncpg.NotNullViolationError):
        await base.fill(None)
    with pytest.raises(Invalid) as error:
        await apply_step(base.conn, base.target, operation, 1, plan.steps[1])
    assert error.value.faults[0].pointer == "/tables/0/fields/0/required"
    for step in (1, 0):
        await undo_step(base.conn, base.target, operation, step, plan.steps[step])
    assert (await base.physical(), await base.read()) == before
    async with base.owner():
        await base.conn.execute(f"update {base.table()} set {base.column()} = 'b'")
    await preflight(base.conn, base.target, plan)
    await base.take(plan.steps)
    assert await base.read() == plan.spec


async def test_duplicates_refuse_uniqueness_and_leave_no_index(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    await base.fill("a", "a", "b", None, None)
    plan = base.plan(changed(base.spec, unique=True))
    before = await base.physical(), await base.read()
    for refused in (preflight(base.conn, base.target, plan), base.take(plan.steps)):
        with pytest.raises(Conflict, match="2 records") as error:
            await refused
        assert error.value.faults[0].pointer == "/tables/0/fields/0/unique"
        assert "'a'" not in error.value.detail
    assert (await base.physical(), await base.read()) == before


async def test_what_an_interrupted_build_left_is_built_again(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    await base.fill("a", "a")
    plan = base.plan(changed(base.spec, unique=True))
    (create,) = [sql for sql in statements(plan.steps[0], base.target) if sql.startswith("create unique")]
    await base.conn.execute("set role tenant_owner")
    with pytest.raises(asyncpg.UniqueViolationError):
        await base.conn.execute(create)
    await base.conn.execute("reset role")
    assert "false" in [part for part in (await base.physical()).split('"') if "CREATE UNIQUE" in part][-1]
    async with base.owner():
        await base.conn.execute(f"delete from {base.table()}")
    await base.take(plan.steps)
    with pytest.raises(asyncpg.UniqueViolationError):
        await base.fill("b", "b")
    assert await base.read() == plan.spec


async def test_a_build_that_is_killed_is_finished_by_the_next_attempt(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    await base.fill("a")
    (op,) = base.plan(changed(base.spec, unique=True)).steps
    operation = ids.new()
    connect = base.databases.connect
    async with (
        connect("schema_worker", "data") as blocker,
        blocker.transaction(isolation="repeatable_read"),
        connect("schema_worker", "data") as killed,
    ):
        await blocker.execute("set local role tenant_owner")
        await blocker.fetch(f"select * from {base.table()}")
        pid = killed.get_server_pid()
        attempt = asyncio.create_task(apply_step(killed, base.target, operation, 0, op))
        await base.until_building(pid)
        with pytest.raises(StillBuilding):
            await apply_step(base.conn, base.target, operation, 0, op)
        async with base.databases.administer() as killer:
            await killer.execute("select pg_terminate_backend($1)", pid)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
            await attempt
    assert await apply_step(base.conn, base.target, operation, 0, op)
    with pytest.raises(asyncpg.UniqueViolationError):
        await base.fill("a")


async def test_a_choice_goes_once_no_record_holds_it(base: Home) -> None:
    await base.want(table({"name": "x", "type": "single_select", "options": CHOICES}))
    await base.fill("red", "green", "red")
    plan = base.plan(changed(base.spec, options={"choices": [{"name": "green"}]}))
    for refused in (preflight(base.conn, base.target, plan), base.take(plan.steps)):
        with pytest.raises(Conflict, match="2 records") as error:
            await refused
        assert error.value.faults[0].pointer == "/tables/0/fields/0/options"
    async with base.owner():
        await base.conn.execute(f"update {base.table()} set {base.column()} = null")
    await base.take(plan.steps)
    assert await base.read() == plan.spec


async def test_a_choice_in_a_list_is_found_too(base: Home) -> None:
    await base.want(table({"name": "x", "type": "multi_select", "options": CHOICES}))
    await base.fill(["green"], ["green", "red"], [])
    plan = base.plan(changed(base.spec, options={"choices": [{"name": "green"}]}))
    with pytest.raises(Conflict, match="1 record of"):
        await base.take(plan.steps)


async def test_a_choice_is_not_taken_from_under_a_write_on_its_way(base: Home) -> None:
    await base.want(table({"name": "x", "type": "single_select", "options": CHOICES}))
    (op,) = base.plan(changed(base.spec, options={"choices": [{"name": "green"}]})).steps
    async with base.databases.connect("data_api", "data") as conn, base.as_member(conn):
        await conn.execute(f"insert into {base.table()} (id, {base.column()}) values ($1, 'red')", ids.new())
        with pytest.raises(asyncpg.LockNotAvailableError):
            await apply_step(base.conn, base.target, ids.new(), 0, op)
    with pytest.raises(Conflict, match="1 record of"):
        await apply_step(base.conn, base.target, ids.new(), 0, op)


async def test_a_wider_type_keeps_every_value(base: Home) -> None:
    await base.want(table({"name": "x", "type": "integer", "unique": True}))
    values = [-(2**63), 0, 2**63 - 1]
    await base.fill(*values)
    await base.want(changed(base.spec, type="number", options={}))
    async with base.owner():
        rows = await base.conn.fetch(
            f"select {base.column()}::text as x from {base.table()} order by {base.column()}"
        )
    assert [row["x"] for row in rows] == [f"{value}.000000" for value in values]


async def test_a_large_table_is_not_written_again_in_place(
    base: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retype, "MAX_REWRITE_ROWS", 2)
    await base.want(table({"name": "x", "type": "integer"}))
    await base.fill(1, 2)
    plan = base.plan(changed(base.spec, type="number", options={}))
    await preflight(base.conn, base.target, plan)
    await base.fill(3)
    with pytest.raises(Conflict, match="add a new field beside 'x'") as error:
        await preflight(base.conn, base.target, plan)
    assert error.value.reason == "table_too_large"


async def test_a_table_out_of_columns_says_so(base: Home) -> None:
    await base.want(table({"name": "x", "type": "boolean"}))
    async with base.owner():
        adds = ", ".join(f"add column z{i} boolean" for i in range(1_600 - 8))
        await base.conn.execute(f"alter table {base.table()} {adds}")
    with pytest.raises(Conflict, match="1,600 columns"):
        await base.take(base.plan(_more(base.spec)).steps)


async def test_preflight_passes_over_what_the_plan_makes_itself(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    plain = base.spec.model_dump(mode="json")
    plain["tables"][0]["fields"].append({"name": "y", "type": "integer", "unique": True})
    plain["tables"].append({"name": "New", "fields": [{"name": "z", "type": "text", "required": True}]})
    plan = base.plan(plain)
    await preflight(base.conn, base.target, plan)
    await base.take(plan.steps)


async def test_a_base_is_told_when_a_version_is_applied(base: Home) -> None:
    await bases.open_base(base.conn, base.target, "Renamed")
    target = replace(base.target, schema_version=3)
    version = await base.catalog_version()
    for _ in range(2):
        await bases.publish(base.conn, target)
    await bases.publish(base.conn, replace(target, schema_version=2))
    assert await base.catalog_version() == version + 1
    async with base.owner():
        row = await base.conn.fetchrow(
            f"select name, schema_version, workspace_id from {names.metadata(target.tenant_id, 'bases')}"
        )
    assert row is not None
    assert tuple(row) == ("Renamed", 3, target.workspace_id)


async def test_two_bases_of_a_tenant_keep_apart(base: Home) -> None:
    await base.want(table({"name": "x", "type": "text"}))
    other = await another_base(base)
    await other.want(table({"name": "x", "type": "text"}))
    await base.fill("a")
    assert await base.read() == base.spec
    assert await other.read() == other.spec
    async with base.databases.connect("data_api", "data") as conn, other.as_member(conn):
        assert await conn.fetchval(f"select count(*) from {base.table()}") == 0
        assert (
            await conn.fetchval(f"select count(*) from {names.metadata(base.target.tenant_id, 'tables')}")
            == 1
        )


@pytest.mark.parametrize(
    ("old", "value", "new", "found"),
    [
        ({"type": "rating"}, 4, {"type": "integer"}, 4),
        ({"type": "rating"}, 4, {"type": "number"}, Decimal("4.000000")),
        ({"type": "rating"}, 4, {"type": "rating", "options": {"max": 10}}, 4),
        (
            {"type": "percent"},
            Decimal("0.25"),
            {"type": "percent", "options": {"scale": 8}},
            Decimal("0.25000000"),
        ),
        ({"type": "phone"}, "+4930", {"type": "text"}, "+4930"),
        ({"type": "user"}, "01jd0000000000000000000000", {"type": "text"}, "01jd0000000000000000000000"),
        ({"type": "rich_text"}, "# a", {"type": "long_text"}, "# a"),
    ],
)
async def test_a_newer_type_widens_in_place_and_keeps_its_values(
    base: Home, old: dict[str, Any], value: Any, new: dict[str, Any], found: Any
) -> None:
    await base.want(table({"name": "x", **old}))
    await base.fill(value)
    await base.want(changed(base.spec, **({"options": {}} | new)))
    async with base.owner():
        assert str(await base.conn.fetchval(f"select {base.column()} from {base.table()}")) == str(found)
