"""The record path's rules: orders, projections, filters, bodies; whatever comes, an answer or a clear refusal."""

import json
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import body, record
from core import filter as filters
from core.body import Write
from core.errors import BadRequest, Invalid, TooLarge
from core.ids import Ulid, new
from core.record import Field, Table
from core.schema.types import TYPES
from db.data.refusals import translated

KINDS: tuple[tuple[str, str, dict[str, Any], bool], ...] = (
    ("Name", "text", {}, True),
    ("Note", "long_text", {}, False),
    ("Count", "integer", {}, False),
    ("Status", "single_select", {"choices": [{"name": "open"}, {"name": "a.b,(c)"}]}, False),
    ("Tags", "multi_select", {"choices": [{"name": "x"}]}, False),
    ("Data", "json", {}, False),
    ('odd, "name".', "text", {}, False),
)


def table(version: int = 1, names: dict[str, str] | None = None) -> Table:
    fields = tuple(
        Field(f"f{n}", (names or {}).get(name, name), TYPES[kind], TYPES[kind].options(**options), required)
        for n, (name, kind, options, required) in enumerate(KINDS)
    )
    return Table(Ulid("t" * 26), Ulid("b" * 26), Ulid("x" * 26), "Tasks", version, fields)


TABLE = table()


def _refusal(read: Callable[..., Any], *args: Any) -> BadRequest | Invalid | None:
    """What is refused; anything else that is raised fails the test."""
    try:
        read(*args)
    except (BadRequest, Invalid) as refusal:
        return refusal
    return None


def test_a_table_that_is_loaded_again_unchanged_is_equal() -> None:
    assert table() == TABLE
    assert hash(table()) == hash(TABLE)
    assert table(2) != TABLE
    assert table(names={"Count": "Number"}) != TABLE
    assert body.adapter(table(), Write.MERGE) is body.adapter(TABLE, Write.MERGE)


def test_an_order_always_ends_with_the_id() -> None:
    def keys(sort: str | None) -> list[tuple[str, bool]]:
        return [(k.field.name, k.descending) for k in record.parse_sort(sort, TABLE)]

    assert keys(None) == [("id", False)]
    assert keys("Name") == [("Name", False), ("id", False)]
    assert keys("Name,-Count") == [("Name", False), ("Count", True), ("id", True)]
    assert keys("-id,Name") == [("id", True)]
    assert keys('-"odd, \\"name\\"."') == [('odd, "name".', True), ("id", True)]


@given(st.text(max_size=40))
def test_any_text_is_an_order_and_a_projection_or_is_refused(text: str) -> None:
    for parse in (record.parse_sort, record.parse_projection):
        refusal = _refusal(parse, text, TABLE)
        assert refusal is None or refusal.faults[0].pointer in ("sort", "fields")


@given(st.text(st.sampled_from('andornot().,"\\eqisnullCountStatus1 '), max_size=60) | st.text(max_size=40))
def test_any_text_is_a_filter_or_is_refused_with_a_place(text: str) -> None:
    refusal = _refusal(filters.parse, text, TABLE)
    if refusal is not None:
        assert refusal.faults[0].pointer == "filter"
    else:
        tree = filters.parse(text, TABLE)
        assert filters.canonical(tree)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Count.eq.1", "f2:integer.eq.['1']"),
        ("Name.eq.", "f0:text.eq.['']"),
        ("Name.eq.a.b", "f0:text.eq.['a.b']"),
        ('Status.eq."a.b,(c)"', "f3:single_select.eq.['a.b,(c)']"),
        ("Status.in.(open,open)", "f3:single_select.in.['open', 'open']"),
        ("Tags.is.null", "f4:multi_select.is_null.['true']"),
        ("and(Count.gt.1,not(Data.is.not_null))", "and(f2:integer.gt.['1'],not(f5:json.is_null.['false']))"),
        ('or("odd, \\"name\\".".ne."x\\\\")', "or(f6:text.ne.['x\\\\'])"),
        ("created_at.gte.2024-01-01T00:00:00Z", "created_at:datetime.gte.['2024-01-01T00:00:00Z']"),
    ],
)
def test_the_compact_spelling_means_one_tree(text: str, canonical: str) -> None:
    assert filters.canonical(filters.parse(text, TABLE)) == canonical


def test_a_cursors_query_outlives_a_rename_and_nothing_else() -> None:
    def key(on: Table, sort: str, condition: str) -> str:
        return record.query_key(
            on, record.parse_sort(sort, on), filters.canonical(filters.parse(condition, on))
        )

    renamed = table(2, {"Count": "Number"})
    assert key(TABLE, "-Count", "Count.gt.1") == key(renamed, "-Number", "Number.gt.1")
    assert key(TABLE, "-Count", "Count.gt.1") != key(TABLE, "Count", "Count.gt.1")
    assert key(TABLE, "-Count", "Count.gt.1") != key(TABLE, "-Count", "Count.gt.2")


def test_a_position_has_a_text_for_each_key() -> None:
    order = record.parse_sort("Count,-Name", TABLE)
    assert record.is_position(["1", None, "id"], order)
    for wrong in (None, [], ["1", "a"], ["1", "a", None], [1, "a", "id"], {"0": "1"}, ["1", "a", "id", "x"]):
        assert not record.is_position(wrong, order)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["fields", "records", "id", "version", "Name", "Count", "Data"]) | st.text(max_size=5),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(_JSON, st.sampled_from(Write))
def test_any_json_is_a_body_or_is_refused_with_pointers(value: Any, write: Write) -> None:
    raw = json.dumps(value).encode()
    refusal = _refusal(body.read, TABLE, write, raw)
    if refusal is not None:
        assert refusal.faults
    else:
        found = body.read(TABLE, write, raw)
        assert found.records
        assert all(set(r["fields"]) <= set(TABLE.by_name) for r in found.records)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_body_or_are_refused(raw: bytes) -> None:
    with pytest.raises((BadRequest, Invalid)):
        body.read(TABLE, Write.CREATE, raw)


@given(st.lists(st.sampled_from(["Name", "Count", "Status", "N\\u0061me"]), min_size=1, max_size=5))
def test_a_key_that_stands_twice_is_always_seen(names: list[str]) -> None:
    values = {"Name": '"x\\": "', "N\\u0061me": '"y"', "Count": "1", "Status": '"open"'}
    members = ", ".join(f'"{name}" : {values[name]}' for name in names)
    plain = [name.replace("\\u0061", "a") for name in names]
    raw = f'{{"fields": {{{members}}}}}'.encode()
    if len(set(plain)) < len(plain):
        with pytest.raises(Invalid):
            body.read(TABLE, Write.MERGE, raw)
    else:
        assert set(body.read(TABLE, Write.MERGE, raw).records[0]["fields"]) == set(plain)


def test_a_body_knows_what_its_records_have() -> None:
    items = [{"id": new(), "fields": {"Count": 1}}, {"id": new(), "fields": {"Name": "a", "Count": None}}]
    found = body.read(TABLE, Write.MERGE, json.dumps({"records": items}).encode())
    assert (found.one, found.present, found.is_uniform) == (False, {"Name", "Count"}, False)
    same = body.read(TABLE, Write.MERGE, json.dumps({"records": items[:1]}).encode())
    assert same.is_uniform


@pytest.mark.parametrize("state", ["54000", "54023"])
def test_a_limit_of_postgresql_is_the_indexes_for_a_write_only(state: str) -> None:
    error = asyncpg.PostgresError.new({"C": state, "M": "too much"})
    written = translated(error, table(), body.read(table(), Write.CREATE, b'{"fields":{"Name":"a"}}'))
    assert isinstance(written, Invalid)
    assert isinstance(translated(error, table(), None), TooLarge)


def test_a_minus_inside_of_quotes_is_the_names_own() -> None:
    both = table(names={"Name": "-minus", "Count": "minus"})
    for text, name, descending in (
        ('"-minus"', "-minus", False),
        ('-"-minus"', "-minus", True),
        ("-minus", "minus", True),
        ("minus", "minus", False),
    ):
        first, _ = record.parse_sort(text, both)
        assert (first.field.name, first.descending) == (name, descending)
