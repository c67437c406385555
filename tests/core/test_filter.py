"""Filters: two spellings of one tree, a form that outlives renames, days that hang on the present moment."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import filter as filters
from core.errors import BadRequest
from core.filter import All, Compare, Filter, Linked, Not, Quantifier, Relative
from core.filter import Any as Some
from core.filter.dates import relative
from core.filter.json import loads
from core.filter.operands import takes_list
from core.filter.tree import MAX_DEPTH
from core.ids import Ulid
from core.record import Field, Table
from core.schema.types import TYPES, Operator
from core.schema.types.base import MATCHING

CHOICES = {"choices": [{"name": name} for name in ("open", "a.b,(c)", 'q"\\')]}
KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Name", "text", {}),
    ("Note", "long_text", {}),
    ("Count", "integer", {}),
    ("Amount", "number", {}),
    ("Done", "boolean", {}),
    ("Due", "date", {}),
    ("At", "datetime", {}),
    ("Status", "single_select", CHOICES),
    ("Tags", "multi_select", CHOICES),
    ("Mail", "email", {}),
    ("Site", "url", {}),
    ("Data", "json", {}),
    ('odd, "name".', "text", {}),
)


def table(version: int = 1, renamed: dict[str, str] | None = None) -> Table:
    fields = tuple(
        Field(f"f{n}", (renamed or {}).get(name, name), TYPES[kind], TYPES[kind].options(**options))
        for n, (name, kind, options) in enumerate(KINDS)
    )
    return Table(Ulid("t" * 26), Ulid("b" * 26), Ulid("x" * 26), "Tasks", version, fields)


TABLE = table()
NOW = datetime(2024, 2, 29, 23, 30, tzinfo=UTC)  # a Thursday
ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Auckland")
_TEXTS = st.text(st.sampled_from("abAB01 .,()\"\\é~'%_ß"), max_size=6)
_WORDS = st.sampled_from(["today", "yesterday", "tomorrow", "3_days_ago", "2_weeks_ahead", "1_years_ago"])
_SPANS = _WORDS | st.sampled_from(["this_week", "last_month", "next_year", "last_7_days", "next_3_months"])
_VALUES: dict[str, st.SearchStrategy[str]] = {
    "text": _TEXTS,
    "long_text": _TEXTS,
    "integer": st.integers(-(2**63), 2**63 - 1).map(str),
    "number": st.decimals(-3, 3, places=1).map(lambda d: format(d.normalize() + 0, "f")),
    "boolean": st.sampled_from(["true", "false"]),
    "date": st.dates().map(str),
    "datetime": st.datetimes(timezones=st.just(UTC)).map(lambda d: d.isoformat().replace("+00:00", "Z")),
    "single_select": st.sampled_from([choice["name"] for choice in CHOICES["choices"]]),
    "multi_select": st.sampled_from([choice["name"] for choice in CHOICES["choices"]]),
    "email": st.just("a@b.co"),
    "url": st.just("https://a.com/"),
}


@st.composite
def comparisons(draw: st.DrawFn, zone: str) -> Filter:
    field = draw(st.sampled_from(TABLE.fields))
    operator = draw(st.sampled_from(field.type.operators))
    if operator is Operator.IS_NULL:
        return Compare(field, operator, (draw(st.sampled_from(["true", "false"])),))
    value: st.SearchStrategy[Any] = _TEXTS if operator in MATCHING else _VALUES[field.type.name]
    if field.type.name in ("date", "datetime"):
        is_equal = operator in (Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN)
        words = (_WORDS if is_equal else _SPANS).map(lambda word: Relative(word, zone))
        value = words if operator is Operator.WITHIN else value | words
    least, most = 1, 1
    if takes_list(field, operator):
        is_set_equal = operator in (Operator.EQ, Operator.NE)
        least, most = (2, 2) if operator is Operator.BETWEEN else (0 if is_set_equal else 1, 4)
    return Compare(field, operator, tuple(draw(st.lists(value, min_size=least, max_size=most))))


def depth(tree: Filter) -> int:
    match tree:
        case All(parts) | Some(parts):
            return 1 + max(map(depth, parts))
        case Not(part):
            return 1 + depth(part)
    return 1


def trees(zone: str) -> st.SearchStrategy[Filter]:
    return st.recursive(
        comparisons(zone),
        lambda part: st.one_of(
            st.lists(part, min_size=1, max_size=4).map(lambda parts: All(tuple(parts))),
            st.lists(part, min_size=1, max_size=4).map(lambda parts: Some(tuple(parts))),
            part.map(Not),
        ),
        max_leaves=6,
    ).filter(lambda tree: depth(tree) <= MAX_DEPTH)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def compact(tree: Filter) -> str:
    """The compact spelling of a tree, everything in quotes."""
    match tree:
        case Compare(field, Operator.IS_NULL, values):
            return f"{quoted(field.name)}.is.{'null' if values == ('true',) else 'not_null'}"
        case Compare(field, operator, values):
            texts = [quoted(v if isinstance(v, str) else v.word) for v in values]
            value = f"({','.join(texts)})" if takes_list(field, operator) else texts[0]
            return f"{quoted(field.name)}.{operator.value}.{value}"
        case Not(part):
            return f"not({compact(part)})"
        case All(parts):
            return f"and({','.join(map(compact, parts))})"
        case Some(parts):
            return f"or({','.join(map(compact, parts))})"
        case Linked(field, quantifier, _, part):
            return f"{quoted(field.name)}.{quantifier.value}.({compact(part)})"


def read(text: str, zone: str = "UTC", on: Table = TABLE) -> Filter:
    return filters.read(loads(text.encode()), on, ("filter",), zone=zone, tables={})


@given(st.sampled_from(ZONES).flatmap(lambda zone: st.tuples(st.just(zone), trees(zone))))
def test_both_spellings_of_a_tree_are_read_as_it(drawn: tuple[str, Filter]) -> None:
    zone, tree = drawn
    assert filters.parse(compact(tree), TABLE, timezone=zone) == tree
    assert read(filters.spelled(tree), zone) == tree
    assert filters.canonical(read(filters.spelled(tree), zone)) == filters.canonical(tree)


@given(trees("UTC"), trees("UTC"))
def test_equal_trees_and_only_they_have_one_canonical_form(one: Filter, other: Filter) -> None:
    assert (filters.canonical(one) == filters.canonical(other)) == (one == other)


@given(trees("UTC"))
def test_a_canonical_form_outlives_a_rename(tree: Filter) -> None:
    renamed = table(2, {name: f"{name} as it is called now" for name, _, _ in KINDS})
    old_names = {f.id: f.name for f in renamed.fields}

    def moved(part: Filter) -> Filter:
        match part:
            case Compare(field, operator, values):
                new = renamed.by_name[old_names[field.id]]
                return Compare(new, operator, values)
            case Not(inner):
                return Not(moved(inner))
            case All(parts):
                return All(tuple(map(moved, parts)))
            case Some(parts):
                return Some(tuple(map(moved, parts)))
        raise AssertionError(part)

    assert filters.canonical(filters.parse(compact(moved(tree)), renamed)) == filters.canonical(tree)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Amount.eq.1.50", '{"field":"Amount","op":"eq","value":1.5}'),
        ("Amount.eq.1e2", '{"field":"Amount","op":"eq","value":100.0}'),
        ("Amount.eq.-0.0", '{"field":"Amount","op":"eq","value":0}'),
        ("Count.in.(-0, 7 )", '{"field":"Count","op":"in","value":[0,7]}'),
        ("Done.eq. true", '{"field":"Done","op":"eq","value":true}'),
        ("At.lt.2024-01-01T01:00:00%2B01:00", '{"field":"At","op":"lt","value":"2024-01-01T00:00:00.000Z"}'),
        ("Due.gt.07_days_ago", '{"field":"Due","op":"gt","value":"7_day_ago"}'),
        ("Tags.eq.()", '{"field":"Tags","op":"eq","value":[]}'),
        ("Name.icontains.5", '{"field":"Name","op":"icontains","value":"5"}'),
        ("Data.is.not_null", '{"field":"Data","op":"is","value":"not_null"}'),
    ],
)
def test_equal_values_are_one(one: str, other: str) -> None:
    assert filters.parse(one.replace("%2B", "+"), TABLE) == read(other)


_LEAF = '{"field":"Count","op":"eq","value":1}'


@pytest.mark.parametrize(
    ("text", "pointer", "hint"),
    [
        ("5", "/filter", "object"),
        ("null", "/filter", "object"),
        ("[]", "/filter", "object"),
        ("{}", "/filter", "either"),
        ('{"feild":"Name","op":"eq","value":"a"}', "/filter/feild", "'field'"),
        ('{"field":"Nmae","op":"eq","value":"a"}', "/filter/field", "'Name'"),
        ('{"field":1,"op":"eq","value":"a"}', "/filter/field", "name"),
        ('{"field":"Name","op":"eqq","value":"a"}', "/filter/op", "'eq'"),
        ('{"field":"Name","op":"is_null","value":"null"}', "/filter/op", "is.null"),
        ('{"field":"Name","op":7,"value":"a"}', "/filter/op", "operator"),
        ('{"field":"Name","value":"a"}', "/filter/op", "missing"),
        ('{"field":"Name","op":"eq"}', "/filter/value", "missing"),
        ('{"field":"Name","op":"eq","value":null}', "/filter/value", "text"),
        ('{"field":"Name","op":"eq","value":5}', "/filter/value", "text"),
        ('{"field":"Name","op":"eq","value":"a\\u0000"}', "/filter/value", "cannot be compared"),
        ('{"field":"Name","op":"contains","value":"a\\u0000"}', "/filter/value", "cannot be compared"),
        ('{"field":"Name","op":"contains","value":"' + "x" * 1001 + '"}', "/filter/value", "1000"),
        ('{"field":"Count","op":"eq","value":"5"}', "/filter/value", "unquoted"),
        ('{"field":"Count","op":"eq","value":1.5}', "/filter/value", "integer"),
        ('{"field":"Count","op":"in","value":5}', "/filter/value", "list"),
        ('{"field":"Count","op":"in","value":[]}', "/filter/value", "nothing"),
        ('{"field":"Count","op":"in","value":[1,true]}', "/filter/value/1", "integer"),
        ('{"field":"Count","op":"in","value":[' + ",".join(["1"] * 201) + "]}", "/filter/value", "200"),
        ('{"field":"Count","op":"between","value":[1]}', "/filter/value", "lowest"),
        ('{"field":"Amount","op":"eq","value":1e-9999999999999999999}', "/filter/value", ""),
        ('{"field":"Amount","op":"eq","value":1e-400}', "/filter/value", ""),
        ('{"field":"Tags","op":"eq","value":"open"}', "/filter/value", "list"),
        ('{"field":"Tags","op":"has_any","value":["open","opne"]}', "/filter/value/1", "cannot be compared"),
        ('{"field":"Tags","op":"contains","value":"o"}', "/filter/op", "operator"),
        ('{"field":"Due","op":"eq","value":"this_week"}', "/filter/value", "within"),
        ('{"field":"Due","op":"within","value":"2024-01-01"}', "/filter/value", "today"),
        ('{"field":"Due","op":"within","value":"last_0_days"}', "/filter/value", "1 day"),
        ('{"field":"Due","op":"lt","value":"99999_days_ago"}', "/filter/value", "36500"),
        ('{"field":"Name","some":{}}', "/filter/some", "member"),
        ('{"and":[]}', "/filter/and", "list"),
        ('{"and":' + _LEAF + "}", "/filter/and", "list"),
        ('{"and":[' + _LEAF + '],"or":[' + _LEAF + "]}", "/filter/or", "member"),
        ('{"and":[' + _LEAF + ',{"not":{"field":"Nmae","op":"eq","value":"a"}}]}', "/filter/and/1/not/field", "Name"),
        ('{"and":[' + _LEAF + '],"and":[' + _LEAF + "]}", "/filter/and", "twice"),
        ('{"field":"Name","op":"eq","op":"ne","value":"a"}', "/filter/op", "twice"),
        ('{"not":' * 10 + _LEAF + "}" * 10, "/filter" + "/not" * 10, "deep"),
        ('{"or":[' + ",".join([_LEAF] * 100) + "]}", "/filter/or/99", "at most 100"),
    ],
)  # fmt: skip
def test_what_json_cannot_mean_is_refused_where_it_stands(text: str, pointer: str, hint: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(text)
    assert refused.value.faults[0].pointer == pointer
    assert hint in refused.value.faults[0].detail


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"[" * 5000, b"NaN", b'"\\ud800"', b"\xef\xbb\xbf{}", b"{} x", b"1" * 5000 + b"x"],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        loads(raw)
    assert refused.value.reason == "json_invalid"


_GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
    | st.sampled_from([f.name for f in TABLE.fields] + [o.value for o in Operator] + ["today", "open"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["and", "or", "not", "field", "op", "value", "some"]) | st.text(max_size=3), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


def _read_or_refused(reader: Callable[[str], Filter], text: str, where: str) -> Filter | None:
    """The tree, or None where it is refused with its place; anything else that is raised fails the test."""
    try:
        return reader(text)
    except BadRequest as error:
        refusal = error
    assert refusal.faults[0].pointer.startswith(where)
    return None


@given(_GARBAGE)
def test_any_json_is_a_filter_or_is_refused_with_a_pointer(value: Any) -> None:
    tree = _read_or_refused(read, json.dumps(value), "/filter")
    assert tree is None or read(filters.spelled(tree)) == tree


@given(
    st.text(st.sampled_from('andornotisinwithin().,"\\%_eqDueAtTagsNamecontainsbetween_agohas1'), max_size=60)
)
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    tree = _read_or_refused(lambda given: filters.parse(given, TABLE), text, "filter")
    assert tree is None or filters.parse(compact(tree), TABLE) == tree


@pytest.mark.parametrize(
    "name", ["", "Berlin", "europe/berlin", "../../etc/passwd", "localtime", "x" * 10_000, "a\0"]
)
def test_a_time_zone_has_one_of_the_known_names(name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        filters.parse("Due.eq.today", TABLE, timezone=name)
    assert refused.value.faults[0].pointer == "timezone"


def days(word: str, now: datetime = NOW, zone: str = "UTC") -> tuple[str, str]:
    found = relative(word, zone)
    assert found is not None
    return found.bounds(now, as_moments=False)


@pytest.mark.parametrize(
    ("word", "first", "end"),
    [
        ("today", "2024-02-29", "2024-03-01"),
        ("yesterday", "2024-02-28", "2024-02-29"),
        ("tomorrow", "2024-03-01", "2024-03-02"),
        ("0_days_ago", "2024-02-29", "2024-03-01"),
        ("10_days_ago", "2024-02-19", "2024-02-20"),
        ("2_weeks_ahead", "2024-03-14", "2024-03-15"),
        ("1_month_ago", "2024-01-29", "2024-01-30"),
        ("1_year_ahead", "2025-02-28", "2025-03-01"),
        ("this_week", "2024-02-26", "2024-03-04"),
        ("last_week", "2024-02-19", "2024-02-26"),
        ("next_month", "2024-03-01", "2024-04-01"),
        ("this_year", "2024-01-01", "2025-01-01"),
        ("last_7_days", "2024-02-23", "2024-03-01"),
        ("next_7_days", "2024-02-29", "2024-03-07"),
        ("last_1_months", "2024-01-30", "2024-03-01"),
    ],
)  # fmt: skip
def test_a_word_stands_for_these_days(word: str, first: str, end: str) -> None:
    assert days(word) == (first, end)


_MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(_MOMENTS, st.integers(1, 400), st.sampled_from(ZONES))
def test_spans_fit_together(now: datetime, count: int, zone: str) -> None:
    today = now.astimezone(ZoneInfo(zone)).date()
    assert days("today", now, zone)[0] == today.isoformat()
    for unit in ("week", "month", "year"):
        last, this, following = (days(f"{turn}_{unit}", now, zone) for turn in ("last", "this", "next"))
        assert (last[1], this[1]) == (this[0], following[0])
        assert this[0] <= today.isoformat() < this[1]
    assert days("this_week", now, zone)[0] == (today - timedelta(today.isoweekday() - 1)).isoformat()
    first, end = days(f"last_{count}_days", now, zone)
    assert date.fromisoformat(end) - date.fromisoformat(first) == timedelta(count)
    assert end == days("tomorrow", now, zone)[0]
    assert days(f"next_{count}_days", now, zone)[0] == today.isoformat()
    for word in ("36500_days_ago", "100_years_ahead", "last_1200_months", "next_5200_weeks"):
        first, end = days(word, now, zone)
        assert first < end


@given(_MOMENTS, st.sampled_from(sorted(ZONES)), _SPANS)
def test_moments_are_when_the_days_begin_there(now: datetime, zone: str, word: str) -> None:
    """A moment is inside exactly when its day there is: also where a clock is turned at midnight."""
    found = Relative(word, zone)
    first, end = (datetime.fromisoformat(text) for text in found.bounds(now, as_moments=True))
    first_day, end_day = (date.fromisoformat(text) for text in found.bounds(now, as_moments=False))
    for moment in (first, end, now):
        for at in (moment - timedelta(seconds=1), moment):
            day = at.astimezone(ZoneInfo(zone)).date()
            assert (first <= at < end) == (first_day <= day < end_day)


def test_a_resolved_tree_names_the_days() -> None:
    def meant(text: str) -> str:
        return compact(filters.resolved(filters.parse(text, TABLE, timezone="Europe/Berlin"), NOW))

    # In Berlin it is 1 March already.
    assert meant("Due.lt.today") == '"Due".lt."2024-03-01"'
    assert meant("Due.gt.today") == '"Due".gte."2024-03-02"'
    assert meant("Due.lte.today") == '"Due".lt."2024-03-02"'
    assert meant("At.gte.today") == '"At".gte."2024-02-29T23:00:00+00:00"'
    assert meant("Due.ne.today") == 'not(or(and("Due".gte."2024-03-01","Due".lt."2024-03-02")))'
    assert meant("Due.between.(today,2024-04-01)") == 'and("Due".gte."2024-03-01","Due".lte."2024-04-01")'
    assert meant("Name.eq.today") == '"Name".eq."today"'


def test_a_condition_through_a_link_names_its_table() -> None:
    leaf = Compare(TABLE.by_name["Count"], Operator.EQ, ("1",))
    tree = Linked(TABLE.by_name["Name"], Quantifier.SOME, TABLE, leaf)
    assert filters.canonical(tree) == f"f0:text.some.{TABLE.id}(f2:integer.eq.['1'])"
    assert filters.spelled(tree) == '{"field":"Name","some":{"field":"Count","op":"eq","value":1}}'
