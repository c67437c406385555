"""Lists: every order walks every record once, filters mean what they say, cursors belong to their query."""

import random
from datetime import date
from functools import partial
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.ids import new
from db.data.listing import MAX_PAGE_BYTES
from tests.api.data.conftest import Client
from tests.api.data.plain import compact, holds, plain, quoted
from tests.api.data.world import FIELDS, Base, World

ODD = FIELDS[-1]["name"]
COMPARABLE = ("Name", "Note", "Count", "Amount", "Done", "Due", "At", "Status", "Mail", "Site", ODD)
_TEXTS = st.text(st.sampled_from("abAB01 .,()\"\\é~'"), max_size=6)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Name": _TEXTS,
    "Note": _TEXTS,
    "Count": st.integers(-5, 5) | st.sampled_from([-(2**63), 2**63 - 1]),
    "Amount": st.decimals(-3, 3, places=1).map(str),
    "Done": st.booleans(),
    "Due": st.dates(min_value=date(2024, 1, 1), max_value=date(2024, 1, 4)).map(str),
    "At": st.sampled_from(
        ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00", "2024-01-01T00:00:00.000001Z"]
    ),
    "Status": st.sampled_from(["open", "todo", "doing", "done", "closed"]),
    "Tags": st.lists(st.sampled_from("abc"), unique=True),
    "Mail": st.sampled_from([f"{c}@b.co" for c in "abc"]),
    "Site": st.sampled_from([f"https://{c}.com/" for c in "abc"]),
    ODD: _TEXTS,
}
COUNT = 120


@pytest.fixture(scope="module")
async def people(world: World, client: Client) -> tuple[Base, httpx.AsyncClient, list[dict[str, Any]]]:
    """A table of records with equal and empty values in every field."""
    base = await world.tenant()
    await base.add_table("Tasks", [field | {"required": False, "unique": False} for field in FIELDS])
    editor = client(await base.token())
    rng = random.Random(7)
    drawn = [_drawn(rng) for _ in range(COUNT)]
    made = await editor.post(base.path(), json={"records": [{"fields": fields} for fields in drawn]})
    assert made.status_code == 201, made.text
    return base, editor, made.json()["records"]


def _drawn(rng: random.Random) -> dict[str, Any]:
    texts = ["", "a", "A", "b", "é", "a.b", "a,b", '"', "\\", "(x)", "~"]
    pools: dict[str, list[Any]] = {
        "Name": texts,
        "Note": texts,
        "Count": [-(2**63), -1, 0, 1, 2, 2**63 - 1],
        "Amount": [-1.5, 0, 0.1, 1, 2.5],
        "Done": [True, False],
        "Due": ["2024-01-01", "2024-01-02", "2024-01-03"],
        "At": ["2024-01-01T00:00:00+00:00", "2024-01-01T01:00:00+01:00", "2024-01-01T00:00:00.000001+00:00"],
        "Status": ["open", "todo", "done"],
        "Tags": [[], ["a"], ["b", "a"]],
        "Mail": ["a@b.co", "b@b.co"],
        "Site": ["https://a.com/", "https://b.com/"],
        "Data": [{"a": 1}, [], 0],
        ODD: texts,
    }
    return {name: rng.choice(pool) for name, pool in pools.items() if rng.random() < 0.75}


async def walk(editor: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    """Every record, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await editor.get(path, params=params | cursor)
        assert page.status_code == 200, page.text
        found += page.json()["records"]
        if page.json()["next_cursor"] is None:
            return found
        assert len(page.json()["records"]) == params["limit"]
        cursor = {"cursor": page.json()["next_cursor"]}


ORDERS = [
    ("Name",), ("-Name",), ("Count",), ("-Count", "Name"), ("Amount", "-Due"), ("-At",), ("Status", "-Done", "Mail"),
    ("created_at",), ("-id",), ("-version", "Name"), ("Site", "Due", "Count", "Done", "Status"),
    ("updated_at", "-Name"), (ODD,), ("-" + ODD, "Name"),
    ("Status", "-id"), ("-Status", "id"), ("Count", "Done", "-id"), ("Name", "-Done", "id"), ("Status", "id"),
]  # fmt: skip


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
async def test_pages_walk_every_record_once_in_order(people: Any, order: tuple[str, ...]) -> None:
    base, editor, records = people
    sort = ",".join("-" * key.startswith("-") + quoted(key.removeprefix("-")) for key in order)
    found = await walk(editor, base.path(), sort=sort, limit=7)
    assert [r["id"] for r in found] == [r["id"] for r in _sorted(records, order)]
    whole = await walk(editor, base.path(), sort=sort, limit=1000)
    assert whole == found


def _sorted(records: list[dict[str, Any]], order: tuple[str, ...]) -> list[dict[str, Any]]:
    """What Python makes of the order: empty values last, or first where it descends, equals by id."""
    found = sorted(records, key=lambda r: r["id"], reverse=order[-1].startswith("-"))
    for key in reversed(order):
        name = key.removeprefix("-")
        found = sorted(found, key=partial(_key, name=name), reverse=key.startswith("-"))
    return found


def _key(record: dict[str, Any], name: str) -> tuple[bool, Any]:
    if name in ("id", "created_at", "updated_at", "version"):
        return (False, record[name])
    value = record["fields"][name]
    return (value is None, 0 if value is None else plain(name, value))


def conditions() -> st.SearchStrategy[Any]:
    def leaf(name: str) -> st.SearchStrategy[Any]:
        value = VALUES[name]
        operators = ["eq", "ne"]
        if name not in ("Note", "Done"):
            operators += ["lt", "lte", "gt", "gte"]
        return st.one_of(
            st.tuples(st.just(name), st.sampled_from(operators), value),
            st.tuples(st.just(name), st.just("in"), st.lists(value, min_size=1, max_size=4)),
            st.tuples(st.just(name), st.just("is"), st.sampled_from(["null", "not_null"])),
        )

    leaves = st.sampled_from(COMPARABLE).flatmap(leaf) | st.tuples(
        st.sampled_from(["Tags", "Data"]), st.just("is"), st.sampled_from(["null", "not_null"])
    )
    return st.recursive(
        leaves,
        lambda parts: st.one_of(
            st.tuples(st.sampled_from(["and", "or"]), st.lists(parts, min_size=1, max_size=4)),
            st.tuples(st.just("not"), parts),
        ),
        max_leaves=8,
    )


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=conditions())
async def test_a_filter_finds_what_its_plain_meaning_finds(people: Any, tree: Any) -> None:
    base, editor, records = people
    found = await editor.get(base.path(), params={"filter": compact(tree), "limit": 1000})
    assert found.status_code == 200, found.text
    expected = [record["id"] for record in records if holds(tree, record["fields"])]
    assert [record["id"] for record in found.json()["records"]] == expected


async def test_filters_hold_from_page_to_page(people: Any) -> None:
    base, editor, records = people
    found = await walk(editor, base.path(), filter="or(Count.gt.0,Status.eq.open)", sort="-Count", limit=5)
    expected = [r for r in records if (r["fields"]["Count"] or 0) > 0 or r["fields"]["Status"] == "open"]
    assert sorted(r["id"] for r in found) == sorted(r["id"] for r in expected)


async def test_records_that_come_and_go_move_no_other(base: Base, editor: httpx.AsyncClient) -> None:
    rows = [{"fields": {"Name": f"{n:03d}", "Count": n // 10}} for n in range(0, 100, 2)]
    made = (await editor.post(base.path(), json={"records": rows})).json()["records"]
    seen, cursor = [], None
    for turn in range(12):
        params = {"limit": "5", "sort": "Count,-Name"} | ({"cursor": cursor} if cursor else {})
        page = (await editor.get(base.path(), params=params)).json()
        seen += [record["id"] for record in page["records"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await editor.post(base.path(), json={"fields": {"Name": f"{turn}", "Count": turn % 3}})
        # One that was seen goes: its page must not move.
        await editor.delete(f"{base.path()}/{seen[turn]}")
    assert len(seen) == len(set(seen))
    assert {record["id"] for record in made} <= set(seen)


@pytest.fixture(scope="module")
async def crowd(world: World, client: Client) -> tuple[Base, httpx.AsyncClient, list[dict[str, Any]]]:
    """A table whose records stay, while others come and go beside them: few values, so that most are equal or empty."""
    base = await world.tenant()
    await base.add_table("Tasks", [field | {"required": False, "unique": False} for field in FIELDS])
    editor = client(await base.token())
    rng = random.Random(11)
    drawn = [_drawn(rng) | {"Count": rng.choice([0, 1, None])} for _ in range(60)]
    made = await editor.post(base.path(), json={"records": [{"fields": fields} for fields in drawn]})
    return base, editor, made.json()["records"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.lists(
        st.sampled_from(
            ["Name", "Count", "Done", "Due", "Status", "At", "Amount", "created_at", "updated_at", "version"]
        ),
        unique=True,
        max_size=4,
    ),
    flips=st.lists(st.booleans(), min_size=5, max_size=5),
    by_id=st.booleans(),
    limits=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    seed=st.integers(0, 1_000),
)
async def test_any_walk_meets_every_record_once_while_others_come_and_go(
    crowd: Any, order: list[str], flips: list[bool], by_id: bool, limits: list[int], seed: int
) -> None:
    base, editor, records = crowd
    keys = [*order, "id"] if by_id else order
    spelled = [("-" if flip else "") + key for key, flip in zip(keys, flips, strict=False)]
    params = {"sort": ",".join(spelled)} if spelled else {}
    rng = random.Random(seed)
    met: list[str] = []
    visitors: list[str] = []
    cursor: dict[str, str] = {}
    for turn in range(200):
        page = await editor.get(base.path(), params=params | cursor | {"limit": limits[turn % len(limits)]})
        assert page.status_code == 200, page.text
        met += [record["id"] for record in page.json()["records"]]
        if page.json()["next_cursor"] is None:
            break
        cursor = {"cursor": page.json()["next_cursor"]}
        if turn < 15:
            rows = [{"fields": _drawn(rng) | {"Count": rng.choice([0, 1, None])}} for _ in range(2)]
            made = await editor.post(base.path(), json={"records": rows})
            visitors += [record["id"] for record in made.json()["records"]]
            if turn % 2:
                await editor.delete(f"{base.path()}/{visitors.pop(rng.randrange(len(visitors)))}")
    if visitors:
        assert (await editor.delete(base.path(), params={"id": visitors})).status_code == 200
    assert len(met) == len(set(met))
    stayed = [record_id for record_id in met if record_id in {r["id"] for r in records}]
    if spelled:
        assert stayed == [r["id"] for r in _sorted(records, tuple(spelled))]
    else:
        assert stayed == [r["id"] for r in records]


async def test_a_page_ends_before_it_grows_too_large(base: Base, editor: httpx.AsyncClient) -> None:
    made: list[str] = []
    for _ in range(3):
        rows = [{"fields": {"Name": "n", "Note": "x" * 90_000}} for _ in range(20)]
        answer = await editor.post(base.path(), json={"records": rows})
        made += [record["id"] for record in answer.json()["records"]]
    met: list[str] = []
    cursor: str | None = None
    pages = 0
    while True:
        params = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
        answer = await editor.get(base.path(), params=params)
        assert len(answer.content) <= MAX_PAGE_BYTES + 10_000
        met += [record["id"] for record in answer.json()["records"]]
        pages += 1
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    assert [record_id for record_id in met if record_id in made] == made
    assert pages == 2


async def test_a_cursor_of_long_texts_is_taken_back(world: World, client: Client) -> None:
    """Five keys of the longest texts, and the same in characters that JSON writes in six bytes."""
    base = await world.tenant()
    await base.add_table("Tasks", [{"name": name, "type": "text"} for name in "abcde"])
    await base.add_table(
        "Long", [{"name": n, "type": "text", "options": {"max_length": 2_000}} for n in "abcd"]
    )
    editor = client(await base.token())
    for table, names, length in (("Tasks", "abcde", 500), ("Long", "abc", 2_000)):
        rows = [
            {"fields": dict.fromkeys(names, char * (length - 1) + f"{n}")}
            for n, char in enumerate(("ж", "日", "\x01", "ж", "日", "\x01"))
        ]
        made = await editor.post(base.path(table), json={"records": rows})
        assert made.status_code == 201, made.text
        found = await walk(editor, base.path(table), sort=",".join(names), limit=1)
        assert {r["id"] for r in found} == {r["id"] for r in made.json()["records"]}
        assert len(found) == len(rows)
    refused = await editor.get(base.path("Long"), params={"sort": "a,b,c,d"})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "too_long")


async def test_only_the_named_fields_are_read(people: Any) -> None:
    base, editor, records = people
    found = await editor.get(base.path(), params={"fields": f"Count,{quoted(ODD)}", "limit": 3})
    expected = [{"Count": r["fields"]["Count"], ODD: r["fields"][ODD]} for r in records[:3]]
    assert [record["fields"] for record in found.json()["records"]] == expected
    one = await editor.get(f"{base.path()}/{records[0]['id']}", params={"fields": "Name"})
    assert one.json()["fields"] == {"Name": records[0]["fields"]["Name"]}


@pytest.mark.parametrize(
    ("params", "parameter", "hint"),
    [
        ({"limt": "3"}, "limt", "'limit'"),
        ({"limit": "0"}, "limit", "1 to 1000"),
        ({"limit": "1001"}, "limit", "1 to 1000"),
        ({"limit": "x"}, "limit", "1 to 1000"),
        ({"limit": "²"}, "limit", "1 to 1000"),
        ({"sort": "Nmae"}, "sort", "'Name'"),
        ({"sort": "Tags"}, "sort", "no order"),
        ({"sort": "Name,Name"}, "sort", "twice"),
        ({"sort": "Name,,Count"}, "sort", "missing"),
        ({"sort": "Name,"}, "sort", "missing"),
        ({"sort": ""}, "sort", "missing"),
        ({"sort": '"Name'}, "sort", "quote"),
        ({"sort": '"Name"x'}, "sort", "comma"),
        ({"sort": '"-Name"'}, "sort", "'Name'"),
        ({"fields": "-Name"}, "fields", "field"),
        ({"sort": "Name,Count,Amount,Done,Due,At"}, "sort", "at most 5"),
        ({"fields": "Name,Cont"}, "fields", "'Count'"),
        ({"fields": "id"}, "fields", "no field 'id'"),
        ({"filter": ""}, "filter", "name"),
        ({"filter": "Cuont.eq.1"}, "filter", "'Count'"),
        ({"filter": "Count.like.1"}, "filter", "operator"),
        ({"filter": "Tags.eq.a"}, "filter", "operator"),
        ({"filter": "Count.is_null.true"}, "filter", "is.null"),
        ({"filter": "Count.is_null.banana"}, "filter", "is.not_null"),
        ({"filter": "Count.eq.x"}, "filter", "cannot be compared"),
        ({"filter": "Count.eq.9223372036854775808"}, "filter", "cannot be compared"),
        ({"filter": "Name.eq.a\x00b"}, "filter", "cannot be compared"),
        ({"filter": "At.gt.2024-01-01"}, "filter", "cannot be compared"),
        ({"filter": "Due.eq.2024-02-30"}, "filter", "cannot be compared"),
        ({"filter": "Status.eq.opne"}, "filter", "cannot be compared"),
        ({"filter": "and(Count.eq.1"}, "filter", "')'"),
        ({"filter": "Count.eq.1)"}, "filter", "goes on"),
        ({"filter": "not(Count.eq.1,Count.eq.2)"}, "filter", "one condition"),
        ({"filter": "Count.in.()"}, "filter", "cannot be compared"),
        ({"filter": 'Name.eq."a'}, "filter", "quote"),
        ({"filter": "not(" * 20 + "Count.eq.1" + ")" * 20}, "filter", "deep"),
        ({"filter": "and(" + ",".join(["Count.eq.1"] * 101) + ")"}, "filter", "at most 100"),
        ({"filter": "Count.in.(" + ",".join(["1"] * 201) + ")"}, "filter", "at most 200"),
        ({"filter": "x" * 9000}, "filter", "at most 8000"),
    ],
)
async def test_what_a_list_cannot_mean_is_refused_with_its_parameter(
    people: Any, params: dict[str, str], parameter: str, hint: str
) -> None:
    base, editor, _ = people
    answer = await editor.get(base.path(), params=params)
    assert answer.status_code == 400, answer.text
    error = answer.json()["errors"][0]
    assert error["pointer"] == parameter
    assert hint in error["detail"]


async def test_a_parameter_comes_once_and_percent_encoded(people: Any) -> None:
    base, editor, _ = people
    twice = await editor.get(base.path() + "?limit=1&limit=2")
    assert (twice.status_code, twice.json()["errors"][0]["code"]) == (400, "repeated_parameter")
    for query in ("filter=%ff", "filter=%ed%a0%80", "&".join(f"p{n}=1" for n in range(300))):
        assert (await editor.get(f"{base.path()}?{query}")).status_code == 400
    assert (await editor.get(f"{base.path()}/{new()}?fields=Name")).status_code == 404
