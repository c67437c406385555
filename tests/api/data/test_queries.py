"""Queries: both spellings find what their plain meaning finds, bodies answer what lists answer, plans are told."""

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import ids
from core.filter.tree import MAX_DEPTH
from db.data import names
from db.data.ddl.base import Sql
from tests.api.data.conftest import Client
from tests.api.data.plain import MATCHES, as_json, compact, holds, quoted
from tests.api.data.world import FIELDS, Base, World

ODD = FIELDS[-1]["name"]
COUNT = 150
TEXTS = [
    "",
    "a",
    "A",
    "b",
    "é",
    "É",
    "a.b",
    "a,b",
    '"',
    "\\",
    "(x)",
    "~",
    "%",
    "_",
    "a_b",
    "a%b",
    "ß",
    "SS",
    "aß\\%b",
    "İ",
]
WORDS = ["red", "Red", "green", "blue fish", "red fish", "one red fish", "", "green red", "fish, red!"]
TODAY = datetime.now(UTC).date()
DAYS = [(TODAY + timedelta(n)).isoformat() for n in (-400, -31, -8, -7, -6, -1, 0, 1, 2, 6, 7, 8, 40, 400)]
POOLS: dict[str, list[Any]] = {
    "Name": TEXTS,
    "Note": WORDS,
    "Count": [-(2**63), -1, 0, 1, 2, 2**63 - 1],
    "Amount": [-1.5, 0, 0.1, 1, 2.5],
    "Done": [True, False],
    "Due": DAYS,
    "At": [f"{day}T{time}+00:00" for day in DAYS for time in ("00:00:00", "12:00:00", "23:59:59.999999")],
    "Status": ["open", "todo", "done"],
    "Tags": [[], ["a"], ["b", "a"], ["a", "b"], ["c"], ["a", "b", "c"]],
    "Mail": ["a@b.co", "A@b.co", "b@b.co"],
    "Site": ["https://a.com/", "https://a.com/%7E_", "https://b.com/"],
    "Data": [{"a": 1}, [], 0],
    ODD: TEXTS,
}
ORDERED = ("eq", "ne", "lt", "lte", "gt", "gte")
TEXT_LIKE = ("Name", "Note", "Status", "Mail", "Site", ODD)
DAY_WORDS = ["today", "yesterday", "tomorrow", "7_days_ago", "1_weeks_ahead"]
SPAN_WORDS = [
    "this_week",
    "last_week",
    "next_month",
    "this_year",
    "last_7_days",
    "next_7_days",
    "last_2_months",
]


@pytest.fixture(scope="module")
async def people(world: World, client: Client) -> tuple[Base, httpx.AsyncClient, list[dict[str, Any]]]:
    """A table of records with equal and empty values in every field."""
    base = await world.tenant()
    await base.add_table("Tasks", [field | {"required": False, "unique": False} for field in FIELDS])
    editor = client(await base.token())
    rng = random.Random(11)
    drawn = [
        {name: rng.choice(pool) for name, pool in POOLS.items() if rng.random() < 0.8} for _ in range(COUNT)
    ]
    made = await editor.post(base.path(), json={"records": [{"fields": fields} for fields in drawn]})
    assert made.status_code == 201, made.text
    return base, editor, made.json()["records"]


def leaves() -> st.SearchStrategy[Any]:
    def of(name: str) -> st.SearchStrategy[Any]:
        value = st.sampled_from(POOLS[name])
        null = st.tuples(st.just(name), st.just("is"), st.sampled_from(["null", "not_null"]))
        if name == "Data":
            return null
        if name == "Tags":
            some = st.lists(st.sampled_from("abc"), min_size=1, max_size=3)
            return st.one_of(
                null,
                st.tuples(
                    st.just(name), st.sampled_from(["eq", "ne"]), st.lists(st.sampled_from("abc"), max_size=3)
                ),
                st.tuples(st.just(name), st.sampled_from(["has_any", "has_all", "has_none"]), some),
            )
        several = st.lists(value, min_size=1, max_size=4)
        found = [null, st.tuples(st.just(name), st.sampled_from(["in", "not_in"]), several)]
        if name in ("Done", "Note"):
            found.append(st.tuples(st.just(name), st.sampled_from(["eq", "ne"]), value))
        else:
            found.append(st.tuples(st.just(name), st.sampled_from(ORDERED), value))
            found.append(
                st.tuples(st.just(name), st.just("between"), st.lists(value, min_size=2, max_size=2))
            )
        if name in TEXT_LIKE:
            part = st.sampled_from(TEXTS + WORDS) | st.text(st.sampled_from('abAB%_\\é ßS"'), max_size=3)
            found.append(st.tuples(st.just(name), st.sampled_from(MATCHES), part))
            words = st.lists(st.sampled_from(["red", "RED", "fish", "-green", "a"]), min_size=1, max_size=3)
            if name == "Note":
                found.append(st.tuples(st.just(name), st.just("search"), words.map(" ".join)))
        if name in ("Due", "At"):
            day, span = st.sampled_from(DAY_WORDS), st.sampled_from(DAY_WORDS + SPAN_WORDS)
            found.append(
                st.tuples(st.just(name), st.sampled_from(["lt", "lte", "gt", "gte", "within"]), span)
            )
            found.append(st.tuples(st.just(name), st.sampled_from(["eq", "ne"]), day))
            mixed = st.lists(day | value, min_size=2, max_size=2)
            found.append(st.tuples(st.just(name), st.sampled_from(["in", "not_in", "between"]), mixed))
        return st.one_of(found)

    return st.sampled_from(list(POOLS)).flatmap(of)


def trees() -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves(),
        lambda parts: st.one_of(
            st.tuples(st.sampled_from(["and", "or"]), st.lists(parts, min_size=1, max_size=4)),
            st.tuples(st.just("not"), parts),
        ),
        max_leaves=8,
    ).filter(lambda tree: depth(tree) <= MAX_DEPTH)


def depth(tree: Any) -> int:
    match tree:
        case ("and" | "or", list(parts)):
            return 1 + max(map(depth, parts))
        case ("not", part):
            return 1 + depth(part)
    return 1


async def queried(http: httpx.AsyncClient, base: Base, body: Any) -> dict[str, Any]:
    answer = await http.post(f"{base.path()}/query", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees())
async def test_a_filter_finds_what_its_plain_meaning_finds(people: Any, tree: Any) -> None:
    base, editor, records = people
    found = await queried(editor, base, {"filter": as_json(tree), "limit": 1000})
    expected = [record["id"] for record in records if holds(tree, record["fields"])]
    assert [record["id"] for record in found["records"]] == expected
    listed = await editor.get(base.path(), params={"filter": compact(tree), "limit": 1000})
    assert (listed.status_code, listed.json()) == (200, found)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tree=trees(), sort=st.sampled_from(["Name", "Count", "Due", ODD, "created_at"]), descending=st.booleans()
)
async def test_a_cursor_of_one_spelling_goes_on_in_the_other(
    people: Any, tree: Any, sort: str, descending: bool
) -> None:
    base, editor, _ = people
    url = {"filter": compact(tree), "sort": "-" * descending + quoted(sort), "limit": "4"}
    direction = "desc" if descending else "asc"
    body = {"filter": as_json(tree), "sort": [{"field": sort, "direction": direction}], "limit": 4}
    first = (await editor.get(base.path(), params=url)).json()
    assert first["records"] == (await queried(editor, base, body))["records"]
    if (cursor := first["next_cursor"]) is not None:
        second = await queried(editor, base, body | {"cursor": cursor})
        listed = (await editor.get(base.path(), params=url | {"cursor": cursor})).json()
        assert second["records"] == listed["records"]
        assert not {r["id"] for r in first["records"]} & {r["id"] for r in second["records"]}


async def test_a_query_has_what_a_list_has(people: Any) -> None:
    base, editor, records = people
    assert (await queried(editor, base, {}))["records"] == records[:100]
    found = await queried(editor, base, {"fields": ["Count", ODD], "limit": 2})
    assert [r["fields"] for r in found["records"]] == [
        {"Count": r["fields"]["Count"], ODD: r["fields"][ODD]} for r in records[:2]
    ]


async def test_a_query_goes_through_a_view_and_is_counted(base: Base, editor: httpx.AsyncClient) -> None:
    rows = [{"fields": {"Name": "n", "Count": n, "Done": n % 2 == 0}} for n in range(9)]
    assert (await editor.post(base.path(), json={"records": rows})).status_code == 201
    views = names.metadata(base.tenant_id, "views")
    definition = {"filter": "Done.eq.true", "sort": "-Count"}
    insert = f"insert into {views} (id, base_id, table_id, name, kind, definition_json) values ($1, $2, $3, $4, $5, $6)"
    values = (ids.new(), base.id, base.tables["Tasks"].id, "Even", "grid", json.dumps(definition))
    await base.apply([Sql(insert, values)])
    body = {"view": "Even", "filter": as_json(("Count", "gt", 2)), "limit": 2, "count": "exact"}
    found = await queried(editor, base, body)
    assert [record["fields"]["Count"] for record in found["records"]] == [8, 6]
    assert found["total"] == 3
    rest = await queried(editor, base, body | {"cursor": found["next_cursor"]})
    assert [record["fields"]["Count"] for record in rest["records"]] == [4]
    params = {"view": "Even", "filter": "Count.gt.2", "limit": "2", "count": "exact"}
    assert (await editor.get(base.path(), params=params)).json()["records"] == found["records"]
    told = await queried(editor, base, body | {"explain": True})
    assert told["sort"][0] == {"field": "Count", "direction": "desc"}
    missing = await editor.post(f"{base.path()}/query", json={"view": "Evne"})
    assert missing.status_code in (400, 404), missing.text


async def test_only_a_right_to_read_is_needed(people: Any, client: Client, world: World) -> None:
    base, _, records = people
    reader = client(await base.token("records:read", role="viewer"))
    assert (await queried(reader, base, {"limit": 1}))["records"] == records[:1]
    writer = client(await base.token("records:write"))
    refused = await writer.post(f"{base.path()}/query", json={})
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    other = await world.tenant()
    stranger = client(await other.token())
    for path in (f"{base.path()}/query", f"/bases/{other.id}/tables/{base.tables['Tasks'].id}/records/query"):
        answer = await stranger.post(path, json={"filter": {"field": "Name", "op": "eq", "value": "a"}})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_no_query_reaches_another_tenant_or_workspace(world: World, client: Client) -> None:
    """Generated queries mix the ids, cursors and values of three bases; each may only ever tell of its own."""
    first = await world.tenant()
    bases = [first, await world.base(first.tenant_id), await world.tenant()]
    https, marks, cursors, record_ids = [], ["mark0", "mark1", "mark2"], [], []
    for base, mark in zip(bases, marks, strict=True):
        await base.add_table("Tasks")
        https.append(
            client(await base.token("records:read", "records:write", workspace_id=base.workspace_id))
        )
        rows = [{"fields": {"Name": mark, "Count": n}} for n in range(3)]
        made = await https[-1].post(base.path(), json={"records": rows})
        record_ids.append(made.json()["records"][0]["id"])
        cursors.append((await queried(https[-1], base, {"limit": 1}))["next_cursor"])
    rng = random.Random(9)
    tried = refused = 0
    while tried < 150:
        me, in_base, in_table, other = (rng.randrange(3) for _ in range(4))
        tried += 1
        body = rng.choice(
            [
                {"filter": as_json(("id", "in", record_ids))},
                {"filter": as_json(("not", ("Name", "eq", marks[me])))},
                {"filter": as_json(("Name", "icontains", "MARK")), "explain": rng.random() < 0.3},
                {"limit": 1, "cursor": cursors[other]},
                {"filter": as_json(("Name", "search", "mark0 or mark1 or mark2"))},
            ]
        )
        path = f"/bases/{bases[in_base].id}/tables/{bases[in_table].tables['Tasks'].id}/records/query"
        answer = await https[me].post(path, json=body)
        told = answer.text.replace(json.dumps(body.get("filter"), separators=(",", ":")), "")
        assert not any(mark in told for n, mark in enumerate(marks) if n != me)
        assert all(one not in told for n, one in enumerate(record_ids) if n != me)
        if me == in_base == in_table:
            assert answer.status_code == (410 if "cursor" in body and other != me else 200)
        else:
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
            refused += 1
    assert refused > 100


_LEAF = {"field": "Count", "op": "eq", "value": 1}


@pytest.mark.parametrize(
    ("body", "pointer", "hint"),
    [
        (b"", "", "JSON"),
        (b"[]", "", "object"),
        (b'{"filter":null}', "/filter", "object"),
        (b'{"fliter":{}}', "/fliter", "'filter'"),
        (b'{"limit":1,"limit":2}', "/limit", "twice"),
        (b'{"limit":0}', "/limit", "1 to 1000"),
        (b'{"limit":1001}', "/limit", "1 to 1000"),
        (b'{"limit":"5"}', "/limit", "1 to 1000"),
        (b'{"limit":1.0}', "/limit", "1 to 1000"),
        (b'{"sort":"Name"}', "/sort", "list"),
        (b'{"sort":[]}', "/sort", "list"),
        (b'{"sort":["Name"]}', "/sort/0", "object"),
        (b'{"sort":[{"field":"Nmae"}]}', "/sort/0/field", "'Name'"),
        (b'{"sort":[{"direction":"asc"}]}', "/sort/0/field", "field"),
        (b'{"sort":[{"field":"Name","direction":"down"}]}', "/sort/0/direction", "desc"),
        (b'{"sort":[{"field":"Name","by":1}]}', "/sort/0/by", "member"),
        (b'{"sort":[{"field":"Tags"}]}', "/sort", "no order"),
        (b'{"sort":[{"field":"Name"},{"field":"Name"}]}', "/sort", "twice"),
        (b'{"fields":["Nmae"]}', "/fields/0", "'Name'"),
        (b'{"fields":["id"]}', "/fields/0", "field"),
        (b'{"fields":[]}', "/fields", "list"),
        (b'{"cursor":null}', "/cursor", "text"),
        (b'{"timezone":"Berlin"}', "/timezone", "Europe/Berlin"),
        (b'{"timezone":1}', "/timezone", "text"),
        (b'{"explain":"true"}', "/explain", "true or false"),
        (b'{"count":"most"}', "/count", "exact"),
        (b'{"count":["exact"]}', "/count", "exact"),
        (b'{"view":7}', "/view", "text"),
        (b'{"filter":{"field":"Name","op":"eq","value":"\\ud800"}}', "", "JSON"),
        (b'{"filter":' + b'{"not":' * 300 + b"1" + b"}" * 301, "", "JSON"),
    ],
)
async def test_what_a_query_cannot_mean_is_refused_where_it_stands(
    people: Any, body: bytes, pointer: str, hint: str
) -> None:
    base, editor, _ = people
    answer = await editor.post(f"{base.path()}/query", content=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["errors"][0]
    assert error["pointer"] == pointer
    assert hint in error["detail"]


async def test_a_query_is_bounded_and_takes_no_parameters(people: Any) -> None:
    base, editor, _ = people
    large = {"filter": {"field": "Name", "op": "in", "value": ["x" * 499] * 250}}
    answer = await editor.post(f"{base.path()}/query", json=large)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    answer = await editor.post(f"{base.path()}/query", json={"cursor": "x"})
    assert (answer.status_code, answer.json()["code"]) == (410, "cursor_unreadable")
    answer = await editor.post(f"{base.path()}/query?limit=1", json={})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_parameter")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        assert (await editor.request(method, f"{base.path()}/query", json={})).status_code in (404, 405, 422)


@pytest.mark.parametrize(
    ("params", "pointer", "hint"),
    [
        ({"filter": "Due.eq.this_week"}, "filter", "within"),
        ({"filter": "Due.eq.tody"}, "filter", "cannot be compared"),
        ({"filter": "Due.eq.today", "timezone": "Berlin"}, "timezone", "Europe/Berlin"),
        ({"timezone": "x"}, "timezone", "time zone"),
        ({"explain": "yes"}, "explain", "true or false"),
        ({"filter": "Count.between.(1)"}, "filter", "lowest"),
        ({"filter": "Tags.has_any.a"}, "filter", "list"),
        ({"filter": "Tags.has_any.()"}, "filter", "nothing"),
        ({"filter": "Name.contans.a"}, "filter", "'contains'"),
        ({"filter": "Name.some.(Count.eq.1)"}, "filter", "operator"),
        ({"filter": "Amount.eq.1e-999999999999999999999"}, "filter", "cannot be compared"),
        ({"filter": "Amount.eq.0." + "0" * 5000 + "1"}, "filter", "cannot be compared"),
        ({"filter": "Name.contains." + "x" * 1001}, "filter", "1000"),
    ],
)
async def test_what_a_list_cannot_mean_is_refused_with_its_parameter(
    people: Any, params: dict[str, str], pointer: str, hint: str
) -> None:
    base, editor, _ = people
    answer = await editor.get(base.path(), params=params)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert hint in answer.json()["errors"][0]["detail"]


async def test_garbage_is_only_ever_refused(people: Any) -> None:
    """Pieces of good queries in a wrong order: 200 or 400, and nothing else."""
    base, editor, _ = people
    rng = random.Random(5)
    good = json.dumps({"filter": {"and": [_LEAF, {"not": _LEAF}]}, "sort": [{"field": "Due"}], "limit": 3})
    pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        '"filter"',
        '"and"',
        '"field"',
        '"op"',
        "1e999",
        "-",
        "null",
        "\\",
        "\0",
    ]
    texts = [
        "Count",
        "Due",
        ".eq.",
        ".in.",
        "(",
        ")",
        ",",
        '"',
        "and(",
        "not(",
        "today",
        "1e9",
        "%",
        "\\",
        ".is.null",
    ]
    seen = set()
    for _ in range(150):
        at = rng.randrange(len(good))
        body = good[:at] + rng.choice(pieces) + good[at + rng.randrange(3) :]
        answer = await editor.post(f"{base.path()}/query", content=body.encode())
        seen.add(answer.status_code)
        text = "".join(rng.choices(texts, k=rng.randrange(1, 9)))
        seen.add((await editor.get(base.path(), params={"filter": text, "limit": 1})).status_code)
    assert seen <= {200, 400}
    assert 400 in seen


async def test_paging_across_midnight_stays_on_its_day(people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base, editor, records = people
    body = {"filter": {"field": "Due", "op": "gte", "value": "today"}, "limit": 3}
    expected = [r["id"] for r in records if r["fields"]["Due"] is not None and r["fields"]["Due"] >= DAYS[6]]
    page = await queried(editor, base, body)
    met = [r["id"] for r in page["records"]]
    two_days_on = datetime.now(UTC) + timedelta(2)
    monkeypatch.setattr("api.edge.ids.now_ms", lambda: int(two_days_on.timestamp() * 1000))
    while page["next_cursor"] is not None:
        page = await queried(editor, base, body | {"cursor": page["next_cursor"]})
        met += [r["id"] for r in page["records"]]
    assert met == expected
    later = await queried(editor, base, body | {"limit": 1000})
    assert len(later["records"]) < len(expected)


async def test_days_begin_where_the_time_zone_says(base: Base, editor: httpx.AsyncClient) -> None:
    """Half a day apart: of two moments in one day of UTC, some zone has them on two days."""
    now = datetime.now(UTC)
    moments = [(now + timedelta(hours=h)).isoformat() for h in range(-60, 61, 6)]
    made = await editor.post(
        base.path(), json={"records": [{"fields": {"Name": "a", "At": moment}} for moment in moments]}
    )
    rows = made.json()["records"]
    for zone, hours in (("UTC", 0), ("Etc/GMT-14", 14), ("Etc/GMT+12", -12)):
        here = timedelta(hours=hours)
        found = await editor.get(base.path(), params={"filter": "At.eq.today", "timezone": zone})
        day = (now + here).date()
        expected = [r["id"] for r in rows if (datetime.fromisoformat(r["fields"]["At"]) + here).date() == day]
        assert [r["id"] for r in found.json()["records"]] == expected
        other = {"filter": {"field": "At", "op": "within", "value": "today"}, "timezone": zone}
        assert [r["id"] for r in (await queried(editor, base, other))["records"]] == expected
    # A cursor belongs to its time zone as well.
    params = {"filter": "At.lte.tomorrow", "timezone": "Europe/Berlin", "limit": 1}
    cursor = (await editor.get(base.path(), params=params)).json()["next_cursor"]
    assert (await editor.get(base.path(), params=params | {"cursor": cursor})).status_code == 200
    moved = params | {"cursor": cursor, "timezone": "UTC"}
    assert (await editor.get(base.path(), params=moved)).json()["code"] == "cursor_foreign"


@pytest.fixture(scope="module")
async def large(world: World, client: Client) -> tuple[Base, httpx.AsyncClient]:
    """Enough records that an index is worth its while, with statistics."""
    base = await world.tenant()
    await base.add_table("Tasks")
    editor = client(await base.token())
    for start in range(0, 3000, 1000):
        rows = [
            {"fields": {
                "Name": f"n{n}", "Mail": f"m{n}@b.co", "Due": DAYS[n % len(DAYS)], "Count": n, "Note": "x" * 200,
            }}
            for n in range(start, start + 1000)
        ]  # fmt: skip
        assert (await editor.post(base.path(), json={"records": rows})).status_code == 201
    async with world.databases.own("data") as conn:
        await conn.execute("set role tenant_owner")
        await conn.execute(f'analyze "tenant_{base.tenant_id}"."t_{base.tables["Tasks"].id}"')
    return base, editor


@pytest.mark.parametrize(
    ("params", "cost", "indexes"),
    [
        ({}, "index", [["id"]]),
        ({"sort": "created_at"}, "index", [["created_at", "id"]]),
        ({"sort": "-Due"}, "index", [["Due", "id"]]),
        ({"filter": "Due.within.last_7_days", "sort": "Due"}, "index", [["Due", "id"]]),
        ({"filter": "Mail.eq.m7@b.co"}, "sort", [["Mail"]]),
        ({"filter": "Name.contains.n", "limit": "10"}, "walk", [["id"]]),
        ({"filter": "Count.gt.-1", "sort": "Count"}, "sort", []),
        ({"filter": "Count.eq.1"}, "sort", []),
    ],
)
async def test_a_plan_is_told(
    large: Any, params: dict[str, str], cost: str, indexes: list[list[str]]
) -> None:
    base, editor = large
    answer = await editor.get(base.path(), params=params | {"explain": "true"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert set(told) == {"filter", "sort", "indexes", "cost_class", "estimated_rows"}
    assert (told["cost_class"], [index["fields"] for index in told["indexes"]]) == (cost, indexes)
    for leak in (base.tenant_id, base.tables["Tasks"].id, "select", "Scan", "f_0", "pb."):
        assert leak not in answer.text


async def test_a_plan_tells_how_the_query_was_understood(large: Any) -> None:
    base, editor = large
    tree = (
        "and",
        [("Due", "lt", "today"), ("not", ("Mail", "in", ["m1@b.co", "m2@b.co"])), ("Count", "gt", 5)],
    )
    told = await queried(
        editor,
        base,
        {"filter": as_json(tree), "sort": [{"field": "Due", "direction": "desc"}], "explain": True},
    )
    assert told["filter"] == as_json(tree)
    assert told["sort"] == [{"field": "Due", "direction": "desc"}, {"field": "id", "direction": "desc"}]
    assert (
        told
        == (
            await editor.get(base.path(), params={"filter": compact(tree), "sort": "-Due", "explain": "true"})
        ).json()
    )
    exact = await queried(editor, base, {"filter": as_json(("Due", "eq", DAYS[0])), "explain": True})
    assert 100 < exact["estimated_rows"] < 400
    whole = await queried(editor, base, {"explain": True})
    assert (whole["filter"], whole["estimated_rows"]) == (None, 3000)


async def test_a_long_text_is_searched_within_its_bound(base: Base, editor: httpx.AsyncClient) -> None:
    words = " ".join(f"w{n}" for n in range(15_000))
    made = await editor.post(base.path(), json={"fields": {"Name": "long", "Note": words + " końcówka"}})
    assert made.status_code == 201
    answers = await asyncio.gather(
        *(editor.get(base.path(), params={"filter": f"Note.search.{quoted(text)}"}) for text in
          ("w14999", "w1 w2", '"w7 w8"', '"w8 w7"', "w1 or nothing", "-w1", "KOŃCÓWKA", "!!! & | <->", "'"))
    )  # fmt: skip
    assert [(a.status_code, len(a.json()["records"])) for a in answers] == [
        (200, 1), (200, 1), (200, 1), (200, 0), (200, 1), (200, 0), (200, 1), (200, 0), (200, 0),
    ]  # fmt: skip
