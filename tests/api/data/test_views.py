"""Views and totals: a view is a filter, an order and fields by another name, and follows its definition at once."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from api.data import pages
from api.data.app import DataApi
from core import ids
from core.schema.ops.create_view import CreateView
from core.schema.ops.drop_field import DropField
from core.schema.ops.drop_view import DropView
from core.schema.ops.update_view import UpdateView
from core.schema.spec import ViewSpec
from db.data import names
from db.data.ddl import DDL
from db.data.ddl.base import Target
from tests.api.data.conftest import Client
from tests.api.data.world import FIELDS, Base, World

OPEN = {"filter": "Status.eq.open", "sort": "-Count", "fields": ["Count", "Name"], "widths": {"Name": 200}}
EQUAL = {"field": "Status", "op": "eq", "value": "open"}
ROWS = [
    {"Name": f"n{n}", "Count": n % 4 if n % 5 else None, "Status": ["open", "done"][n % 2], "Note": "x"}
    for n in range(20)
]


async def apply(base: Base, op: Any) -> None:
    await base.apply(DDL[op.kind].up(op, Target(base.tenant_id, base.workspace_id, base.id, 1, 1)))


async def add_view(base: Base, name: str, definition: dict[str, Any], table: str = "Tasks") -> ViewSpec:
    """Make a view as a schema application does."""
    view = ViewSpec(id=ids.new(), name=name, kind="grid", definition=definition)
    made = base.tables[table]
    await apply(base, CreateView(pointer="", table_id=made.key, table=made.name, view=view))
    return view


@pytest.fixture
async def filled(base: Base, editor: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The records of a table."""
    made = await editor.post(base.path(), json={"records": [{"fields": row} for row in ROWS]})
    assert made.status_code == 201, made.text
    records: list[dict[str, Any]] = made.json()["records"]
    return records


async def listed(editor: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    found = await editor.get(path, params=params)
    assert found.status_code == 200, found.text
    records: list[dict[str, Any]] = found.json()["records"]
    return records


async def test_a_view_is_the_query_that_it_says(base: Base, editor: httpx.AsyncClient, filled: Any) -> None:
    view = await add_view(base, "Open ones", OPEN)
    plain = await listed(editor, base.path(), filter=OPEN["filter"], sort="-Count", fields="Name,Count")
    assert len(plain) == 10
    assert await listed(editor, base.path(), view=view.key) == plain
    assert await listed(editor, base.path(), view="Open ones") == plain
    # Pages, and the cursor is that of the query.
    page = (await editor.get(base.path(), params={"view": "Open ones", "limit": 4})).json()
    rest = await listed(editor, base.path(), view=view.key, cursor=page["next_cursor"])
    assert page["records"] + rest == plain


async def test_parameters_refine_a_view(base: Base, editor: httpx.AsyncClient, filled: Any) -> None:
    await add_view(base, "Open", OPEN)
    own = {"filter": "or(Count.eq.1,Count.eq.2)", "sort": "Name", "fields": "Note"}
    refined = await listed(editor, base.path(), view="Open", **own)
    assert refined == await listed(
        editor, base.path(), filter="and(Status.eq.open,Count.in.(1,2))", sort="Name", fields="Note"
    )
    assert {tuple(record["fields"]) for record in refined} == {("Note",)}
    # What a parameter replaces is not read, and so cannot be wrong.
    await add_view(base, "Half", {"sort": "Gone", "fields": ["Gone"]})
    assert len(await listed(editor, base.path(), view="Half", sort="Name", fields="Name")) == 20


@pytest.mark.parametrize(
    "same",
    [
        {"filter": EQUAL, "sort": ["-Count"], "fields": ["Name", "Count"]},
        {"filter": "Status.eq.open", "sort": '-"Count"', "fields": ["Count", "Name", "Name"], "group": None},
        {"sort": [{"field": "Count", "direction": "desc"}], "filter": EQUAL, "fields": ["Name", "Count"]},
        {"filter": {"and": [EQUAL]}, "sort": ["-Count", "-id"], "fields": ["Name", "Count"]},
    ],
)
async def test_a_definition_has_its_spellings(
    base: Base, editor: httpx.AsyncClient, filled: Any, same: dict[str, Any]
) -> None:
    await add_view(base, "Open", OPEN)
    await add_view(base, "Same", same)
    assert await listed(editor, base.path(), view="Same") == await listed(editor, base.path(), view="Open")


async def test_days_in_a_view_begin_where_the_caller_says(base: Base, editor: httpx.AsyncClient) -> None:
    """A moment of the day before in one zone, and of the present day in another; `timezone` alone is enough."""
    west, east = ZoneInfo("Etc/GMT+12"), ZoneInfo("Etc/GMT-14")
    now = datetime.now(UTC)
    moment = now.astimezone(west).replace(hour=0, minute=0, second=0, microsecond=0).isoformat()
    made = await editor.post(base.path(), json={"fields": {"Name": "a", "At": moment}})
    assert made.status_code == 201, made.text
    await add_view(base, "Today", {"filter": "At.within.today"})
    for zone in (west, east):
        is_today = datetime.fromisoformat(moment).astimezone(zone).date() == now.astimezone(zone).date()
        found = await listed(editor, base.path(), view="Today", timezone=zone.key)
        assert len(found) == is_today
    wrong = await editor.get(base.path(), params={"view": "Today", "timezone": "Mars"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "timezone")


async def test_a_query_in_a_body_takes_views_and_counts_too(
    base: Base, editor: httpx.AsyncClient, filled: Any
) -> None:
    await add_view(base, "Open", OPEN)
    for sort, body in ((None, {}), ("Name", {"sort": [{"field": "Name"}]})):
        params = {"view": "Open", "count": "exact", "limit": "3", "filter": "Count.gt.0"}
        params |= {} if sort is None else {"sort": sort}
        given = {
            "view": "Open",
            "count": "exact",
            "limit": 3,
            "filter": {"field": "Count", "op": "gt", "value": 0},
        }
        got = (await editor.get(base.path(), params=params)).json()
        asked = await editor.post(f"{base.path()}/query", json=given | body)
        assert asked.status_code == 200, asked.text
        on = (await editor.get(base.path(), params=params | {"cursor": asked.json()["next_cursor"]})).json()
        assert asked.json()["records"] == got["records"]
        assert asked.json()["total"] == got["total"] == on["total"]
        assert not {r["id"] for r in on["records"]} & {r["id"] for r in got["records"]}


async def test_a_view_that_says_nothing_is_the_table(
    base: Base, editor: httpx.AsyncClient, filled: Any
) -> None:
    for n, definition in enumerate(
        ({}, {"filter": None, "sort": None, "fields": None}, {"sort": []}, {"x": [1]})
    ):
        await add_view(base, f"v{n}", definition)
        assert await listed(editor, base.path(), view=f"v{n}") == await listed(editor, base.path())
    await add_view(base, "bare", {"fields": []})
    assert [r["fields"] for r in await listed(editor, base.path(), view="bare")] == [{}] * 20


async def test_a_view_changes_with_its_definition_at_once(
    base: Base, editor: httpx.AsyncClient, filled: Any
) -> None:
    view = await add_view(base, "Open", {"filter": "Status.eq.open"})
    page = (await editor.get(base.path(), params={"view": "Open", "limit": 2})).json()
    table = base.tables["Tasks"]
    other = view.model_copy(update={"name": "Done", "definition": {"filter": "Status.eq.done"}})
    where = {"pointer": "", "table_id": table.key, "table": table.name}
    await apply(base, UpdateView(**where, old=view, new=other))
    found = await listed(editor, base.path(), view=view.key)
    assert {record["fields"]["Status"] for record in found} == {"done"}
    # Its pages belonged to the query that it was.
    stale = await editor.get(base.path(), params={"view": "Done", "cursor": page["next_cursor"]})
    assert (stale.status_code, stale.json()["code"]) == (410, "cursor_foreign")
    await apply(base, DropView(**where, view_id=view.key, view=other.name))
    assert (await editor.get(base.path(), params={"view": view.key})).status_code == 404


async def test_an_unknown_view_is_not_found_and_the_nearest_is_named(
    base: Base, editor: httpx.AsyncClient, world: World, client: Client
) -> None:
    await base.add_table("Others")
    other_table = await add_view(base, "Elsewhere", {}, "Others")
    await add_view(base, "Open ones", {})
    stranger = await world.tenant()
    await stranger.add_table("Tasks")
    theirs = await add_view(stranger, "Theirs", {})
    wrong = (
        "Open one",
        "open ones",
        "",
        "x" * 5_000,
        theirs.key,
        "Theirs",
        other_table.key,
        "Elsewhere",
        ids.new(),
    )
    for name in wrong:
        answer = await editor.get(base.path(), params={"view": name})
        assert answer.status_code == 404, name
        (error,) = answer.json()["errors"]
        assert (error["pointer"], error["code"]) == ("view", "unknown_view")
        assert error["detail"].count("Theirs") + error["detail"].count("Elsewhere") == (
            name in ("Theirs", "Elsewhere")
        )
    answer = await editor.get(base.path(), params={"view": "Open one"})
    assert "'Open ones'" in answer.json()["errors"][0]["detail"]
    foreign = await client(await stranger.token()).get(base.path(), params={"view": theirs.key})
    assert foreign.status_code == 404
    twice = await editor.get(base.path() + "?view=a&view=b")
    assert twice.status_code == 400


@pytest.mark.parametrize(
    ("definition", "pointer", "hint"),
    [
        ({"filter": "Sttus.eq.open"}, "/definition/filter", "'Status'"),
        ({"filter": "Status.eq"}, "/definition/filter", ""),
        ({"filter": "Status.eq.opne"}, "/definition/filter", "cannot be compared"),
        ({"filter": {"and": [EQUAL | {"field": "Sttus"}]}}, "/definition/filter/and/0/field", "'Status'"),
        ({"filter": {"field": "Count", "op": "eq", "value": "x"}}, "/definition/filter/value", ""),
        ({"filter": {"conjunction": "and"}}, "/definition/filter/conjunction", "no member"),
        ({"filter": []}, "/definition/filter", ""),
        ({"filter": 7}, "/definition/filter", ""),
        ({"sort": "Nmae"}, "/definition/sort", "'Name'"),
        ({"sort": ""}, "/definition/sort", "missing"),
        ({"sort": ["Name", "-Cuont"]}, "/definition/sort/1", "'Count'"),
        ({"sort": ["Name,Count"]}, "/definition/sort/0", "one field"),
        ({"sort": ["Name", "-Name"]}, "/definition/sort", "twice"),
        ({"sort": ["Tags"]}, "/definition/sort/0", "no order"),
        ({"sort": ["Name", "Count", "Amount", "Done", "Due", "At"]}, "/definition/sort", "at most 5"),
        ({"sort": [{"field": 7}]}, "/definition/sort/0", "name of one field"),
        ({"sort": [{"field": "Name", "direction": "down"}]}, "/definition/sort/0", "asc or desc"),
        ({"sort": [{"field": "Name", "direction": []}]}, "/definition/sort/0", "asc or desc"),
        ({"sort": [{"field": "Nmae"}]}, "/definition/sort/0", "'Name'"),
        ({"sort": [{"field": ""}]}, "/definition/sort/0", ""),
        ({"sort": ["Name", {"field": "Count", "descending": True}]}, "/definition/sort/1/descending", "no member"),
        ({"sort": {"field": "Name"}}, "/definition/sort", "list"),
        ({"sort": ["Name"] * 3_000}, "/definition/sort", "at most 5"),
        ({"sort": 3}, "/definition/sort", "list"),
        ({"fields": ["Name", "Nte"]}, "/definition/fields/1", "'Note'"),
        ({"fields": ["id"]}, "/definition/fields/0", "no field"),
        ({"fields": [None]}, "/definition/fields/0", "no field"),
        ({"fields": [["Name"]]}, "/definition/fields/0", "no field"),
        ({"fields": "Name"}, "/definition/fields", "list"),
    ],
)  # fmt: skip
async def test_a_view_that_no_longer_fits_says_where(
    base: Base, editor: httpx.AsyncClient, definition: dict[str, Any], pointer: str, hint: str
) -> None:
    await add_view(base, "Wrong", definition)
    answer = await editor.get(base.path(), params={"view": "Wrong"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_view"), answer.text
    error = answer.json()["errors"][0]
    assert error["pointer"] == pointer
    assert hint in error["detail"]


async def test_a_view_of_a_field_that_went_says_so_and_other_lists_go_on(
    base: Base, editor: httpx.AsyncClient, filled: Any
) -> None:
    await add_view(base, "Open", OPEN)
    assert len(await listed(editor, base.path(), view="Open")) == 10
    table = base.tables["Tasks"]
    (count,) = (field for field in table.fields if field.name == "Count")
    await apply(
        base, DropField(pointer="", table_id=table.key, table=table.name, field_id=count.key, field="Count")
    )
    answer = await editor.get(base.path(), params={"view": "Open"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/definition/sort")
    assert len(await listed(editor, base.path(), view="Open", sort="Name", fields="Name")) == 10
    assert len(await listed(editor, base.path())) == 20


async def test_the_total_is_counted_where_asked_for(
    base: Base, editor: httpx.AsyncClient, filled: Any
) -> None:
    plain = (await editor.get(base.path(), params={"limit": 3})).json()
    assert set(plain) == {"records", "next_cursor"}
    counted = (await editor.get(base.path(), params={"limit": 3, "count": "exact"})).json()
    assert counted.pop("total") == 20
    assert counted == plain
    # Of all pages, whichever this is, and of what the filter finds.
    params = {"limit": 3, "count": "exact", "filter": "Count.gte.2", "sort": "Name"}
    page = (await editor.get(base.path(), params=params)).json()
    expected = sum((row["Count"] or 0) >= 2 for row in ROWS)
    later = (await editor.get(base.path(), params=params | {"cursor": page["next_cursor"]})).json()
    assert page["total"] == later["total"] == expected
    none = (await editor.get(base.path(), params={"count": "exact", "filter": "Name.eq.nobody"})).json()
    assert none == {"records": [], "next_cursor": None, "total": 0}
    await add_view(base, "Open", OPEN)
    assert (await editor.get(base.path(), params={"count": "exact", "view": "Open"})).json()["total"] == 10


@pytest.mark.parametrize("count", ["", "true", "Exact", "planned"])
async def test_another_count_is_refused(base: Base, editor: httpx.AsyncClient, count: str) -> None:
    answer = await editor.get(base.path(), params={"count": count})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "count")


async def test_a_total_that_takes_too_long_is_null_and_says_why(
    base: Base, editor: httpx.AsyncClient, filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty thousand records in a millisecond: PostgreSQL itself gives up, and the page is there."""
    async with base.world.databases.administer("data") as conn:
        spec = base.tables["Tasks"]
        table, name = names.table(base.tenant_id, spec.key), names.column(spec.fields[0].key)
        await conn.execute("set session_replication_role = replica")
        await conn.execute(
            f"insert into {table} (id, {name}) select '7' || lpad(to_hex(n), 25, '0'), 'n'"
            " from generate_series(1, 50000) n"
        )
    monkeypatch.setattr(pages, "COUNT_MAX_S", 0.001)
    page = (await editor.get(base.path(), params={"limit": 5, "count": "exact"})).json()
    assert len(page["records"]) == 5
    assert (page["total"], page["total_reason"]) == (None, "took_too_long")
    # The bound was that one call's.
    monkeypatch.undo()
    whole = (await editor.get(base.path(), params={"limit": 5, "count": "exact"})).json()
    assert whole["total"] == 50_020


async def test_a_total_is_left_out_where_too_many_are_counted(
    base: Base, editor: httpx.AsyncClient, filled: Any, app: DataApi
) -> None:
    counts = app.state.parts.counts
    with counts.room(base.tenant_id), counts.room(base.tenant_id):
        page = (await editor.get(base.path(), params={"limit": 5, "count": "exact"})).json()
    assert (len(page["records"]), page["total"], page["total_reason"]) == (5, None, "busy")
    page = (await editor.get(base.path(), params={"limit": 5, "count": "exact"})).json()
    assert page["total"] == 20


async def test_a_view_with_the_largest_definition_is_read(
    base: Base, editor: httpx.AsyncClient, filled: Any
) -> None:
    large = {
        "filter": {"and": [{"field": "Name", "op": "ne", "value": "x" * 500}] * 99},
        "columns": ["y" * 500] * 5,
    }
    assert len(json.dumps(large)) < 65_536
    await add_view(base, "Large", large)
    assert len(await listed(editor, base.path(), view="Large")) == 20


async def test_a_view_names_fields_whatever_they_are_called(base: Base, editor: httpx.AsyncClient) -> None:
    odd = FIELDS[-1]["name"]
    rows = [{"fields": {"Name": f"{n}", odd: text}} for n, text in enumerate("bca")]
    assert (await editor.post(base.path(), json={"records": rows})).status_code == 201
    await add_view(
        base, "Odd", {"sort": [{"field": odd}, {"field": "Name", "direction": "asc"}], "fields": [odd]}
    )
    assert [r["fields"] for r in await listed(editor, base.path(), view="Odd")] == [{odd: t} for t in "abc"]
