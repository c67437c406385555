"""The record path against the real database: what is accepted is kept, and no connection carries anything over."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import body as bodies
from core import coerce, ids
from core.body import Write
from core.errors import BadRequest, Forbidden, Invalid, NotFound, PreconditionFailed, StaleRoute, StaleSchema
from core.schema.types import Mode
from db.data import prepared, records, statements
from db.data.catalog import Catalog
from db.data.homes import Claims, Home, Key
from db.data.listing import Listing
from db.data.records import Call
from db.data.statements import Statement
from tests.api.data.world import FIELDS, Base, World
from tests.conftest import Databases
from tests.db.data.homes import line


@pytest.fixture(scope="module")
def world(databases: Databases) -> World:
    """The databases, and how to people them."""
    return World(databases)


@pytest.fixture(scope="module")
async def home(databases: Databases) -> AsyncIterator[Home]:
    async with line(databases) as reached:
        yield reached


@pytest.fixture(scope="module")
async def base(world: World) -> Base:
    """A tenant with a table of every type, nothing in it required or unique."""
    made = await world.tenant()
    await made.add_table("Tasks", [f | {"required": False, "unique": False} for f in (*FIELDS, *MORE)])
    return made


MORE: tuple[dict[str, Any], ...] = (
    {"name": "Page", "type": "rich_text"},
    {"name": "Price", "type": "currency", "options": {"code": "EUR"}},
    {"name": "Share", "type": "percent"},
    {"name": "Took", "type": "duration"},
    {"name": "Phone", "type": "phone"},
    {"name": "Stars", "type": "rating"},
    {"name": "Key", "type": "uuid"},
    {"name": "Owner", "type": "user"},
)
"""What the tests of the API do without."""


async def call_on(base: Base, home: Home, *, role: str = "editor", key: Key | None = None) -> Call:
    claims = Claims(base.tenant_id, base.workspace_id, base.id, role, 1, ids.new(), None)
    catalog, table_id = Catalog(), str(base.tables["Tasks"].id)
    known = await catalog.with_table(home, claims, table_id)
    return Call(home, claims, catalog, known, known.tables[table_id], ids.new(), key)


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
RAW: dict[str, st.SearchStrategy[str]] = {
    "Name": _TEXT.map(json.dumps),
    "Note": _TEXT.map(json.dumps),
    "Count": st.one_of(st.integers(-(2**64), 2**64).map(str), st.sampled_from(["1.0", "1e3", "-0", "true"])),
    "Amount": st.one_of(
        st.decimals(-(10**25), 10**25, places=6).map(str),
        st.floats().map(json.dumps),
        st.integers(-(10**30), 10**30).map(str),
        st.decimals(-(10**20), 10**20, places=8).map(str),
        st.sampled_from(["1e-7", "1E18", "-0.0", "0.10000000", "9999999999999999999.999999", "1e19", '"1"',
                         "1.0000000000000000001", "1e-20000", "0e-20000", "0e99999", "0E+999999999"]),
    ),
    "Done": st.sampled_from(["true", "false", "0", '"true"']),
    "Due": st.one_of(
        st.dates().map(str).map(json.dumps),
        st.sampled_from(['"0000-01-01"', '"10000-01-01"', '"2024-1-1"', '"2024-02-30"', '"infinity"', '"now"', "0"]),
    ),
    "At": st.one_of(
        st.datetimes(timezones=st.timezones()).map(lambda at: json.dumps(at.isoformat())),
        st.datetimes().map(lambda at: json.dumps(at.isoformat() + "Z")),
        st.sampled_from(
            ['"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', '"2024-01-01T24:00:00Z"', '"now"',
             '"2024-06-30T23:59:60Z"', '"2024-01-01T00:00:00.1234567Z"', '"2024-01-01T00:00:00+15:59"']
        ),
    ),
    "Status": st.sampled_from(['"open"', '"done"', '"nope"', "1"]),
    "Tags": st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=4).map(json.dumps),
    "Mail": st.one_of(st.emails().map(json.dumps), st.sampled_from(['"a@b.co"', '"a@b"', '"@"'])),
    "Site": st.one_of(st.sampled_from(['"https://a.b/c?d=e#f"', '"ftp://a"', '"http://"', '"https://é"'])),
    "Data": _JSON.map(json.dumps) | st.sampled_from(
        ["1e400", "NaN", "1" * 400, '"\\u0000"', '{"a":1e-400}', "null", "1e-16383", "1e-16384", "[0e-20000]",
         "0e99999", "0.0e-16382", "0E999999999", "1." + "0" * 16_383, "1." + "0" * 16_384,
         "0." + "0" * 15_999 + "1e16001", "0." + "0" * 7_990 + "1e-999"]
    ),
    "Page": _TEXT.map(json.dumps),
    "Price": st.integers(-(2**64), 2**64).map(str) | st.sampled_from(["1.0", '"1"']),
    "Share": st.decimals(-(10**13), 10**13, places=7).map(str) | st.floats().map(json.dumps),
    "Took": st.decimals(-(10**13), 10**13, places=4).map(str) | st.floats(-1, 1).map(json.dumps),
    "Phone": st.from_regex(r"\+?[0-9]{1,17}", fullmatch=True).map(json.dumps),
    "Stars": st.integers(-1, 7).map(str),
    "Key": st.uuids().map(str).map(json.dumps) | st.uuids().map(lambda uuid: json.dumps(str(uuid).upper())),
    "Owner": st.from_regex(r"[0-8][0-9a-z]{25}", fullmatch=True).map(json.dumps),
    FIELDS[-1]["name"]: _TEXT.map(json.dumps),
}  # fmt: skip
BODY = st.dictionaries(st.sampled_from(sorted(RAW)), st.none(), max_size=5).flatmap(
    lambda names: st.fixed_dictionaries({name: RAW[name] for name in names})
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=BODY)
async def test_what_the_body_check_accepts_postgresql_accepts_and_gives_back(
    base: Base, home: Home, fields: dict[str, str]
) -> None:
    call = await _shared_call(base, home)
    raw = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"
    try:
        body = bodies.read(call.table, Write.CREATE, f'{{"fields":{raw}}}'.encode())
    except (BadRequest, Invalid):
        return
    made = await records.create(call, body)
    found = json.loads(made.body, parse_float=Decimal)["fields"]
    for name, value in body.records[0]["fields"].items():
        assert _same(name, found[name], value, fields[name]), (name, found[name], value)
    assert all(found[name] is None for name in call.table.by_name if name not in fields)
    record_id = json.loads(made.body)["id"]
    # Writing the same again changes nothing: what came out is what went in, for PostgreSQL too.
    again = await records.update(replace(call, operation_id=ids.new()), body, record_id, None)
    assert json.loads(again.body)["version"] == 1


_LOOSE = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20).map(json.dumps),
    st.from_regex(r"[-+]?[0-9]{1,20}([.,:' ][0-9]{1,8}){0,3} ?(%|h|EUR|Z)?", fullmatch=True).map(json.dumps),
    st.sampled_from(
        ['"PT1H30M"', '"1h 30m"', '"1:30:00"', '" 1,234.50 "', '"25 %"', '"€ 12.50"', '"YES"', '"Open"', '"a, C"',
         '"2026-1-5"', '"2026-11-24 12:00:00+0200"', '"2026-11-24T12:00"', '"+49 30 12-34"', '"mailto:a@b.co"',
         '"HTTPS://a.b/é"', '"www.a.b"', '"018F2B5C7E6A7CC19C3A0123456789AB"', '"01JD0000000000000000000000"', "4.0",
         "1e3", "1", "1.000", '""']
    ),
)  # fmt: skip
LOOSE = st.lists(st.sampled_from(sorted(RAW)), min_size=1, max_size=5, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _LOOSE | RAW[name] for name in names})
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=LOOSE, mode=st.sampled_from([Mode.STRICT, Mode.LENIENT]))
async def test_what_a_typecast_makes_postgresql_keeps_and_gives_back(
    base: Base, home: Home, fields: dict[str, str], mode: Mode
) -> None:
    call = await _shared_call(base, home)
    for name, value in fields.items():
        raw = f'{{"fields":{{{json.dumps(name)}:{value}}}}}'.encode()
        try:
            body, made = coerce.read(call.table, Write.CREATE, raw, mode)
        except (BadRequest, Invalid):
            continue
        sent = json.loads(body.raw, parse_float=Decimal)["fields"][name]
        stored = await records.create(replace(call, operation_id=ids.new()), body)
        found = json.loads(stored.body, parse_float=Decimal)["fields"][name]
        assert found == sent if name == "Data" else _same(name, found, sent, str(sent)), (name, value, found)
        assert made or body.raw == raw
        # What was stored is taken as it is: nothing is left to cast.
        again = f'{{"fields":{{{json.dumps(name)}:{coerce.dumps(found).decode()}}}}}'.encode()
        assert coerce.read(call.table, Write.CREATE, again, mode)[1] == ()


_calls: dict[str, Call] = {}


async def _shared_call(base: Base, home: Home) -> Call:
    if base.id not in _calls:
        _calls[base.id] = await call_on(base, home)
    return replace(_calls[base.id], operation_id=ids.new())


def _same(name: str, found: Any, sent: Any, raw: str) -> bool:
    if sent is None:
        return found is None
    if name in ("Amount", "Share", "Took"):
        return bool(found == Decimal(raw))
    if name == "At":
        return datetime.fromisoformat(found) == datetime.fromisoformat(sent)
    if name == "Data":
        return bool(found == json.loads(raw, parse_float=Decimal))
    return bool(found == sent)


async def test_a_connection_comes_back_with_nothing_of_its_last_tenant(base: Base, home: Home) -> None:
    call = await call_on(base, home)
    await records.create(call, bodies.read(call.table, Write.CREATE, b'{"fields":{"Name":"a"}}'))
    with pytest.raises(NotFound):
        await records.get(call, ids.new(), None)
    conn = await home._lines.take("")
    try:
        row = await conn.fetchrow(
            "select current_user::text as role, session_user::text as login,"
            " current_setting('pb.claims', true) as claims, current_setting('pb.writer', true) as writer"
        )
        assert (row["role"], row["login"]) == ("data_api", "data_api")
        assert not row["claims"]
        assert not row["writer"]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.fetch(f"select 1 from {statements.physical(call.table)}")
        assert len(conn.prepared) >= 2
        # What was prepared as one tenant's role is no way in for another, nor without a role.
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.fetch(f"execute {statements.get(call.table, None).name} ('{{}}', '{{}}')")
    finally:
        home._lines.give(conn)


async def test_a_statement_of_one_tenant_is_nothing_to_another(world: World, base: Base, home: Home) -> None:
    """Even with the other's SQL in hand, and its plan prepared on the connection, the role has no right to it."""
    mine, other = await call_on(base, home), await world.tenant()
    await other.add_table("Tasks")
    theirs = await call_on(other, home)
    await records.create(theirs, bodies.read(theirs.table, Write.CREATE, b'{"fields":{"Name":"secret"}}'))
    for keep in (False, True):
        statement = replace(statements.get(theirs.table, None), keep=keep)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await home.read(mine.claims, mine.base.catalog, statement, b"{}", ["x"])


async def test_claims_of_another_base_or_workspace_see_nothing(world: World, base: Base, home: Home) -> None:
    call = await call_on(base, home)
    made = await records.create(call, bodies.read(call.table, Write.CREATE, b'{"fields":{"Name":"a"}}'))
    record_id = json.loads(made.body)["id"]
    for wrong in ({"workspace_id": ids.new()}, {"base_id": ids.new()}):
        lost = replace(call, claims=replace(call.claims, **wrong), operation_id=ids.new())
        with pytest.raises(NotFound):
            await records.get(lost, record_id, None)
        with pytest.raises(NotFound):
            await records.delete_one(lost, record_id, None)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await records.create(lost, bodies.read(call.table, Write.CREATE, b'{"fields":{"Name":"b"}}'))
    assert (await records.get(call, record_id, None)).body


async def test_a_viewer_is_refused_before_any_statement(base: Base, home: Home) -> None:
    call = await call_on(base, home, role="viewer")
    body = bodies.read(call.table, Write.MERGE, b'{"fields":{}}')
    with pytest.raises(Forbidden):
        await records.create(call, bodies.read(call.table, Write.CREATE, b'{"fields":{"Name":"b"}}'))
    with pytest.raises(Forbidden):
        await records.update(call, body, ids.new(), None)
    with pytest.raises(Forbidden):
        await records.delete_many(call, [ids.new()])


async def test_a_stale_route_or_schema_is_refused_and_leaves_nothing(
    base: Base, home: Home, world: World
) -> None:
    call = await call_on(base, home, key=Key("k", "h"))
    body = bodies.read(call.table, Write.CREATE, b'{"fields":{"Name":"a"}}')
    before = len(await world.changes(base))
    with pytest.raises(StaleRoute):
        await records.create(replace(call, claims=replace(call.claims, generation=2)), body)
    with pytest.raises(StaleSchema):
        await records.create(replace(call, base=replace(call.base, catalog=call.base.catalog - 1)), body)
    assert len(await world.changes(base)) == before
    async with world.databases.own("data") as conn:
        kept = await conn.fetchval(
            "select count(*) from platform.idempotency where token_id = $1", call.claims.token_id
        )
    assert kept == 0


async def test_prepared_statements_are_bounded(
    base: Base, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.data.prepared._MAX_PREPARED", 3)
    call = await call_on(base, home)
    made = await records.create(call, bodies.read(call.table, Write.CREATE, b'{"fields":{"Name":"a"}}'))
    record_id = json.loads(made.body)["id"]
    conn = await home._lines.take("")
    home._lines.give(conn)
    while len(conn.prepared) > 3:
        await prepared._forget_oldest(conn)
    for projection in ("Name", "Count", "Done", "Due", "Name", "At", "Name"):
        found = await records.get(call, record_id, projection)
        assert list(json.loads(found.body)["fields"]) == [projection]
        there = await conn.fetch("select name from pg_prepared_statements where name like 's\\_%'")
        assert {row["name"] for row in there} == set(conn.prepared)
        assert len(there) <= 3
        with pytest.raises(PreconditionFailed):  # prepared, though the call was refused: that is bounded too
            await records.delete_one(call, record_id, [9])


async def test_a_statement_that_got_lost_is_prepared_again(base: Base, home: Home) -> None:
    call = await call_on(base, home)
    made = await records.create(call, bodies.read(call.table, Write.CREATE, b'{"fields":{"Name":"a"}}'))
    record_id = json.loads(made.body)["id"]
    first = await records.get(call, record_id, None)
    conn = await home._lines.take("")
    await conn.execute("deallocate all")
    conn.statements = [await conn.prepare(statement) for statement in prepared.CALLS[:2]]
    home._lines.give(conn)
    assert await records.get(call, record_id, None) == first


async def test_a_prepared_statement_survives_ddl_on_its_table(world: World, home: Home) -> None:
    base = await world.tenant()
    table = await base.add_table("Tasks")
    call = await call_on(base, home)
    made = await records.create(
        call, bodies.read(call.table, Write.CREATE, b'{"fields":{"Name":"a","Count":1}}')
    )
    record_id = json.loads(made.body)["id"]
    before = await records.get(call, record_id, None)
    async with world.databases.own("data") as conn:
        await conn.execute("set role tenant_owner")
        await conn.execute(f"alter table {statements.physical(call.table)} add column later text default 'x'")
        await conn.execute(f"create index on {statements.physical(call.table)} (f_{table.fields[2].id})")
    assert (await records.get(call, record_id, None)).body == before.body


def test_equal_sql_has_one_name_and_another_table_version_another() -> None:
    one, two = Statement("select 1"), Statement("select 1")
    assert one.name == two.name
    assert one.name != Statement("select 2").name


def test_a_name_is_quoted_wherever_it_stands() -> None:
    assert statements.literal("it's") == "'it''s'"


_ORDERED: dict[str, list[Any]] = {
    "Price": [-(2**63), -1, 1250, 2**63 - 1],
    "Share": [-1, 0.25, 0.5, 100],
    "Took": [-0.001, 0, 59.999, 5400],
    "Phone": ["+12", "+4930", "+49301", "+55"],
    "Stars": [1, 2, 3, 5],
    "Key": [f"{char}0000000-0000-0000-0000-000000000000" for char in "09af"],
    "Owner": [f"{n}1jd0000000000000000000000" for n in range(4)],
}


@pytest.mark.parametrize("name", sorted(_ORDERED))
async def test_a_list_walks_by_a_value_and_finds_what_is_compared_with_it(
    world: World, home: Home, name: str
) -> None:
    made, values = await world.tenant(), _ORDERED[name]
    await made.add_table("Tasks", MORE)
    call = await call_on(made, home)
    for value in (values[2], None, values[0], values[3], values[1]):
        body = bodies.read(call.table, Write.CREATE, json.dumps({"fields": {name: value}}).encode())
        await records.create(replace(call, operation_id=ids.new()), body)

    async def walked(sort: str, condition: str | None = None) -> list[Any]:
        found, after = [], None
        for _ in range(10):
            page = await records.page(call, Listing(call.table, sort, condition, None), after, 1)
            found += [record["fields"][name] for record in json.loads(page.body)]
            if page.hint is None:
                break
            after = json.loads(page.hint)
        return found

    assert await walked(name) == [*values, None]
    assert await walked(f"-{name}") == [None, *values[::-1]]
    word = f'"{values[1]}"' if isinstance(values[1], str) else str(values[1])
    assert await walked("id", f"{name}.eq.{word}") == [values[1]]
    if name != "Owner":
        assert await walked(name, f"{name}.gt.{word}") == values[2:]
