"""Links through every way to write: by rows, by a unique value, by filter."""

from typing import Any

import httpx
import pytest

from core import ids
from tests.api.data.test_links import add, fields, want
from tests.api.data.world import Base, World

TABLES: list[dict[str, Any]] = [
    {"name": "People", "fields": [{"name": "Name", "type": "text"}]},
    {
        "name": "Tasks",
        "fields": [
            {"name": "Code", "type": "text", "unique": True},
            {"name": "Who", "type": "link", "options": {"table": "People", "inverse": "Tasks"}},
            {"name": "Number", "type": "autonumber"},
        ],
    },
]


@pytest.fixture
async def base(world: World) -> Base:
    """A new tenant's base of two tables, linked."""
    made = await world.tenant()
    await want(made, TABLES)
    return made


async def test_an_upsert_sets_links_and_leaves_what_was_read(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    ann, bob = await add(editor, base, "People", {"Name": "Ann"}, {"Name": "Bob"})
    path, key = base.path("Tasks"), {"upsert": "Code"}
    sent = [{"fields": {"Code": "a", "Who": [ann, bob]}}, {"fields": {"Code": "b"}}]
    first = await editor.post(path, params=key, json={"records": sent})
    assert [r["status"] for r in first.json()["records"]] == ["created", "created"]
    a, b = (r["id"] for r in first.json()["records"])
    sent[1]["fields"]["Who"] = [ann]
    second = await editor.post(path, params=key, json={"records": sent})
    assert [r["status"] for r in second.json()["records"]] == ["unchanged", "updated"]
    assert set((await fields(editor, base, "People", ann))["Tasks"]) == {a, b}
    await editor.delete(f"{base.path('People')}/{bob}")
    sent[0]["fields"]["Who"] = [ann]  # as it is read now
    third = await editor.post(path, params=key, json={"records": sent})
    assert [r["status"] for r in third.json()["records"]] == ["unchanged", "unchanged"]
    assert (await fields(editor, base, "Tasks", a))["Number"] == 1
    wrong = await editor.post(path, params=key, json={"fields": {"Code": "a", "Who": [ann, ids.new()]}})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/fields/Who/1")


async def test_who_links_to_nobody_is_told_by_himself(base: Base, editor: httpx.AsyncClient) -> None:
    (ann,) = await add(editor, base, "People", {"Name": "Ann"})
    path, each = base.path("Tasks"), {"mode": "per_row"}
    sent = [{"fields": {"Code": f"c{n}", "Who": [ann if n % 3 else ids.new()]}} for n in range(300)]
    made = await editor.post(path, params=each, json={"records": sent})
    assert made.status_code == 207
    rows = made.json()["records"]
    assert [r["status"] for r in rows] == ["created" if n % 3 else "error" for n in range(300)]
    fault = rows[3]["error"]["errors"][0]
    assert (fault["pointer"], fault["code"]) == ("/records/3/fields/Who", "unknown_record")
    changes = [
        {"id": rows[n]["id"], "fields": {"Who": who}} for n, who in ((1, []), (2, [ids.new()]), (4, [ann]))
    ]
    changed = await editor.patch(path, params=each, json={"records": changes})
    assert [r["status"] for r in changed.json()["records"]] == ["updated", "error", "unchanged"]


async def test_a_filter_through_a_link_finds_whom_to_change(base: Base, editor: httpx.AsyncClient) -> None:
    ann, bob = await add(editor, base, "People", {"Name": "Ann"}, {"Name": "Bob"})
    one, two, _ = await add(
        editor, base, "Tasks", {"Code": "a", "Who": [ann]}, {"Code": "b", "Who": [ann, bob]}, {"Code": "c"}
    )
    params = {"filter": "Who.some.(Name.eq.Ann)", "max-affected": "5"}
    changed = await editor.patch(base.path("Tasks"), params=params, json={"fields": {"Who": [bob]}})
    assert changed.json().get("count") == 2, changed.text
    for record_id in (one, two):
        assert (await fields(editor, base, "Tasks", record_id))["Who"] == [bob]
    params["filter"] = "Who.some.(Name.eq.Bob)"
    gone = await editor.delete(base.path("Tasks"), params=params)
    assert [r["id"] for r in gone.json()["records"]] == [one, two]
