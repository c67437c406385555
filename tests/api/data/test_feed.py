"""The changes feed: every committed change once and in order, however its readers come and go."""

import asyncio
import json
import random
import re
from typing import Any

import httpx
import pytest

from api.data.app import DataApi
from core import ids
from core.schema.ops.drop_field import DropField
from core.schema.ops.rename_field import RenameField
from db.data import feed
from db.data.ddl import DDL
from db.data.ddl.base import Target
from tests.api.data.conftest import Client
from tests.api.data.world import Base, World

FEW = ({"name": "Name", "type": "text"}, {"name": "Count", "type": "integer"})


def feed_of(base: Base) -> str:
    return f"/bases/{base.id}/changes"


async def read(http: httpx.AsyncClient, base: Base, **params: Any) -> dict[str, Any]:
    answer = await http.get(feed_of(base), params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def all_after(http: httpx.AsyncClient, base: Base, **params: Any) -> list[dict[str, Any]]:
    """Everything that is there, by pages."""
    found: list[dict[str, Any]] = []
    while True:
        page = await read(http, base, **params)
        found += page["changes"]
        params["after"] = page["next_cursor"]
        if not page["has_more"]:
            return found


async def test_a_change_tells_what_was_written_when_by_whom_and_over_what(
    base: Base, world: World, client: Client
) -> None:
    token = await base.token(role="editor", workspace_id=base.workspace_id)
    http = client(token)
    made = await http.post(base.path(), json={"fields": {"Name": "a", "Amount": 1.10, "Tags": ["b", "a"]}})
    where, record_id = made.headers["location"], made.json()["id"]
    changed = await http.patch(where, json={"fields": {"Name": "b"}})
    await http.delete(where)
    created, updated, deleted = (await read(http, base))["changes"]
    assert (
        created.items()
        >= {
            "table_id": base.tables["Tasks"].id,
            "record_id": record_id,
            "version": 1,
            "action": "create",
            "changed_at": made.json()["created_at"],
            "actor": {"user_id": token.user_id, "token_id": token.id},
            "operation_id": made.headers["x-request-id"],
            "before": None,
            "after": made.json()["fields"],
        }.items()
    )
    assert (updated["action"], updated["version"]) == ("update", 2)
    assert (updated["before"], updated["after"]) == (made.json()["fields"], changed.json()["fields"])
    assert (deleted["action"], deleted["version"]) == ("delete", 3)
    assert (deleted["before"], deleted["after"]) == (changed.json()["fields"], None)


async def test_any_entry_can_be_gone_on_from(base: Base, editor: httpx.AsyncClient) -> None:
    for n in range(5):
        await editor.post(base.path(), json={"records": [{"fields": {"Name": f"{n} {m}"}} for m in range(3)]})
    whole = (await read(editor, base))["changes"]
    assert [c["after"]["Name"] for c in whole] == [f"{n} {m}" for n in range(5) for m in range(3)]
    for place, entry in enumerate(whole):
        rest = (await read(editor, base, after=entry["cursor"]))["changes"]
        assert [c["record_id"] for c in rest] == [c["record_id"] for c in whole[place + 1 :]]
    for limit in (1, 2, 7, 15, 16):
        # A cursor tells when it was given out as well.
        again = await all_after(editor, base, limit=limit)
        assert [c | {"cursor": ""} for c in again] == [c | {"cursor": ""} for c in whole]


async def test_a_reader_begins_at_the_oldest_or_now(base: Base, editor: httpx.AsyncClient) -> None:
    now = await read(editor, base, after="latest")
    assert (now["changes"], now["has_more"]) == ([], False)
    await editor.post(base.path(), json={"fields": {"Name": "a"}})
    later = await read(editor, base, after="latest")
    await editor.post(base.path(), json={"fields": {"Name": "b"}})
    names = [
        [c["after"]["Name"] for c in (await read(editor, base, **after))["changes"]]
        for after in ({}, {"after": now["next_cursor"]}, {"after": later["next_cursor"]})
    ]
    assert names == [["a", "b"], ["a", "b"], ["b"]]


async def test_a_copy_that_starts_from_a_cursor_is_whole(base: Base, editor: httpx.AsyncClient) -> None:
    """Take a cursor, read the table while it changes, follow from the cursor, keep each record's highest version."""
    rows = [{"fields": {"Name": f"{n}", "Count": n}} for n in range(300)]
    known = [r["id"] for r in (await editor.post(base.path(), json={"records": rows})).json()["records"]]
    rng = random.Random(3)

    async def disturb() -> None:
        for n in range(120):
            where = f"{base.path()}/{rng.choice(known)}"
            match n % 3:
                case 0:
                    await editor.patch(where, json={"fields": {"Count": 1_000 + n}})
                case 1:
                    await editor.delete(where)
                case _:
                    await editor.post(base.path(), json={"fields": {"Name": f"new {n}"}})

    disturbing = asyncio.create_task(disturb())
    await asyncio.sleep(0.05)
    cursor = (await read(editor, base, after="latest"))["next_cursor"]
    copy: dict[str, tuple[int, Any]] = {}
    page: dict[str, Any] = {"next_cursor": None}
    while True:
        params = {"limit": 20} | ({"cursor": page["next_cursor"]} if page["next_cursor"] else {})
        page = (await editor.get(base.path(), params=params)).json()
        copy |= {r["id"]: (r["version"], r["fields"]) for r in page["records"]}
        if page["next_cursor"] is None:
            break
    await disturbing
    for change in await all_after(editor, base, after=cursor, limit=50):
        if change["version"] > copy.get(change["record_id"], (0, None))[0]:
            copy[change["record_id"]] = (change["version"], change["after"])
    found = (await editor.get(base.path(), params={"limit": 1000})).json()["records"]
    there = {r["id"]: (r["version"], r["fields"]) for r in found}
    assert {k: v for k, v in copy.items() if v[1] is not None} == there
    assert any(v[1] is None for v in copy.values())


async def test_tables_and_fields_narrow_a_feed(base: Base, editor: httpx.AsyncClient) -> None:
    await base.add_table("Others", FEW)
    for n in range(4):
        await editor.post(base.path(), json={"fields": {"Name": f"t{n}", "Count": n}})
        await editor.post(base.path("Others"), json={"fields": {"Name": f"o{n}", "Count": n}})
    tasks, others = base.tables["Tasks"].id, base.tables["Others"].id
    for limit in (1, 3, 100):
        found = await all_after(editor, base, tables=others, limit=limit)
        assert [c["after"]["Name"] for c in found] == ["o0", "o1", "o2", "o3"]
    both = await all_after(editor, base, tables=f"{tasks},{others}", limit=3)
    assert [c["after"]["Name"] for c in both] == [f"{kind}{n}" for n in range(4) for kind in "to"]
    narrow = await all_after(editor, base, tables=tasks, fields="Count,Name")
    assert [c["after"] for c in narrow] == [{"Name": f"t{n}", "Count": n} for n in range(4)]


async def test_a_page_about_a_quiet_table_looks_at_a_bounded_part(
    base: Base, editor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_SCANNED", 10)
    await base.add_table("Quiet", FEW)
    for _ in range(3):
        await editor.post(base.path(), json={"records": [{"fields": {"Name": "x"}} for _ in range(12)]})
    await editor.post(base.path("Quiet"), json={"fields": {"Name": "here"}})
    quiet = base.tables["Quiet"].id
    first = await read(editor, base, tables=quiet)
    assert (first["changes"], first["has_more"]) == ([], True)
    assert [c["after"]["Name"] for c in await all_after(editor, base, tables=quiet)] == ["here"]
    waited = await read(editor, base, tables=quiet, wait=5)
    assert [c["after"]["Name"] for c in waited["changes"]] == ["here"]


async def test_names_are_those_of_today(base: Base, editor: httpx.AsyncClient) -> None:
    await editor.post(base.path(), json={"fields": {"Name": "a", "Count": 1, "Amount": 2}})
    table = base.tables["Tasks"]
    target = Target(base.tenant_id, base.workspace_id, base.id, 1, 1)
    on = {"pointer": "", "table_id": table.id, "table": table.name}
    for op in (
        RenameField(**on, field_id=table.fields[2].id, field="Count", new_name="Number"),
        DropField(**on, field_id=table.fields[3].id, field="Amount"),
    ):
        await base.apply(DDL[op.kind].up(op, target))  # type: ignore[attr-defined]
    (change,) = (await read(editor, base))["changes"]
    assert change["after"]["Number"] == 1
    assert not {"Count", "Amount"} & set(change["after"])
    assert change["schema_version"] == 1


async def test_a_page_ends_at_its_bytes(base: Base, editor: httpx.AsyncClient) -> None:
    """Values that compress well are as large as they are, and those that do not are not sent at once either."""
    noise = random.Random(1)
    for n in range(4):
        text = "a" * 90_000 if n % 2 else "".join(noise.choices("abcdefghijklmnopqrstuvwxyz", k=90_000))
        rows = [{"fields": {"Name": f"{n} {m}", "Note": text}} for m in range(30)]
        assert (await editor.post(base.path(), json={"records": rows})).status_code == 201
    found: list[str] = []
    params: dict[str, Any] = {"limit": 1000}
    pages = 0
    while True:
        answer = await editor.get(feed_of(base), params=params)
        page = answer.json()
        assert len(answer.content) <= feed.MAX_PAGE_BYTES + 100_000
        found += [c["after"]["Name"] for c in page["changes"]]
        params["after"] = page["next_cursor"]
        pages += 1
        if not page["has_more"]:
            break
    assert found == [f"{n} {m}" for n in range(4) for m in range(30)]
    assert 3 <= pages <= 12


@pytest.mark.parametrize(
    ("params", "pointer", "code"),
    [
        ({"limit": "0"}, "limit", "out_of_range"),
        ({"limit": "1001"}, "limit", "out_of_range"),
        ({"limit": "x"}, "limit", "out_of_range"),
        ({"wait": "31"}, "wait", "out_of_range"),
        ({"wait": "-1"}, "wait", "out_of_range"),
        ({"wait": "1.5"}, "wait", "out_of_range"),
        ({"after": "nonsense"}, "after", "invalid_cursor"),
        ({"after": ""}, "after", "invalid_cursor"),
        ({"after": "ä"}, "after", "invalid_cursor"),
        ({"tables": ""}, "tables", "unknown_table"),
        ({"tables": "01kg0000000000000000000000"}, "tables", "unknown_table"),
        ({"tables": "x," * 101}, "tables", "too_many"),
        ({"fields": "Name"}, "fields", "needs_one_table"),
        ({"cursor": "x"}, "cursor", "unknown_parameter"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    base: Base, editor: httpx.AsyncClient, params: dict[str, str], pointer: str, code: str
) -> None:
    answer = await editor.get(feed_of(base), params=params)
    assert answer.status_code == 400, answer.text
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]


async def test_unknown_fields_and_tables_of_another_base_are_refused(
    base: Base, world: World, editor: httpx.AsyncClient
) -> None:
    second = await world.base(base.tenant_id, base.workspace_id)
    other = await second.add_table("Others")
    answer = await editor.get(feed_of(base), params={"tables": other.id})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_table")
    answer = await editor.get(feed_of(base), params={"tables": base.tables["Tasks"].id, "fields": "Nam"})
    assert answer.status_code == 400
    assert "'Name'" in answer.json()["detail"]


async def test_a_feed_shows_its_base_only_and_cursors_belong_to_it(world: World, client: Client) -> None:
    first = await world.tenant()
    bases = [
        first,
        await world.base(first.tenant_id, first.workspace_id),
        await world.base(first.tenant_id),
        await world.tenant(),
    ]
    https = [client(await base.token()) for base in bases]
    cursors = []
    for n, (base, http) in enumerate(zip(bases, https, strict=True)):
        await base.add_table("Tasks", FEW)
        await http.post(base.path(), json={"fields": {"Name": f"mark{n}"}})
        cursors.append((await read(http, base))["next_cursor"])
        listed = await http.get(base.path(), params={"limit": 1})
        assert listed.status_code == 200
    for n, (base, http) in enumerate(zip(bases, https, strict=True)):
        assert [c["after"]["Name"] for c in await all_after(http, base)] == [f"mark{n}"]
        for m, cursor in enumerate(cursors):
            answer = await http.get(feed_of(base), params={"after": cursor})
            assert (answer.status_code == 200) == (n == m)
            if n != m:
                assert answer.json()["code"] == "invalid_cursor"
        for other in bases:
            if other.tenant_id != base.tenant_id:
                assert (await http.get(feed_of(other))).status_code == 404


async def test_who_may_read_may_follow(base: Base, client: Client) -> None:
    viewer = client(await base.token("records:read", role="viewer", workspace_id=base.workspace_id))
    assert (await viewer.get(feed_of(base))).status_code == 200
    writer = client(await base.token("records:write"))
    answer = await writer.get(feed_of(base))
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


async def test_a_cursor_older_than_what_is_kept_says_how_to_begin_again(
    base: Base, editor: httpx.AsyncClient, app: DataApi, world: World
) -> None:
    await editor.post(base.path(), json={"fields": {"Name": "a"}})
    cursors = app.state.parts.cursors
    query = f"{base.tenant_id} {base.id} changes"
    generation, xid, seq, at_ms = cursors.read(query, (await read(editor, base))["next_cursor"])
    day_ms = 86_400_000
    for days, status in ((1, 200), (87, 200), (89, 410), (400, 410)):
        old = cursors.write(query, [generation, xid, seq, at_ms - days * day_ms])
        answer = await editor.get(feed_of(base), params={"after": old})
        assert answer.status_code == status, (days, answer.text)
        if status == 410:
            problem = answer.json()
            assert problem["code"] == "cursor_expired"
            assert problem["errors"][0]["pointer"] == "after"
            assert "after=latest" in problem["detail"]
        waited = await editor.get(feed_of(base), params={"after": old, "wait": 1})
        assert waited.status_code == status
    # Whoever begins at the oldest does not begin at what may be gone before he has read on.
    async with world.databases.administer("data") as conn:
        await conn.execute("select platform.ensure_partitions((now() - interval '4 months')::date, 5)")
        await conn.execute(
            "insert into platform.changes (tenant_id, generation, origin, workspace_id, base_id, table_id, record_id,"
            " version, action, after, changed_at) select tenant_id, generation, origin, workspace_id, base_id,"
            " table_id, record_id, 7, 'update', after, now() - make_interval(days => d)"
            " from platform.changes, unnest(array[100, 88, 80]) d where base_id = $1",
            base.id,
        )
    found = await all_after(editor, base)
    assert len(found) == 2
    for change in found:
        await read(editor, base, after=change["cursor"])


async def test_a_page_costs_what_its_base_has_not_what_the_cluster_has(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """Of many tenants' changes, and those of another busy base of the tenant, none is looked at."""
    await editor.post(base.path(), json={"fields": {"Name": "a"}})
    claims = f"{base.tenant_id} {base.workspace_id} {base.id} viewer"
    asked = {"generation": 1, "g": 0, "x": "0", "s": 0, "limit": 100, "scan": 101}
    crowd = [(ids.new(), ids.new()) for _ in range(20)] + [(base.tenant_id, ids.new())]
    async with world.databases.administer("data") as conn, conn.transaction():
        for tenant_id, base_id in crowd:
            await conn.execute(
                "insert into platform.changes (tenant_id, generation, origin, workspace_id, base_id, table_id,"
                " record_id, version, action) select $1, 1, 'local', $2, $3, $3, $3, 1, 'create'"
                " from generate_series(1, 1000)",
                tenant_id,
                base.workspace_id,
                base_id,
            )
        await conn.execute("analyze platform.changes")
        await conn.execute(
            "set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off; set local jit = off"
        )
        await conn.execute("select set_config('pb.claims', $1, true)", claims)
        await conn.execute(f'set local role "tenant_{base.tenant_id}"')
        for n, statement in enumerate((feed._READ, feed._NEWEST)):
            await conn.execute(f"prepare q{n} (jsonb, text[]) as {statement.sql}")
            rows = await conn.fetch(
                f"explain (analyze, costs off) execute q{n} ('{json.dumps(asked)}', '{{}}')"
            )
            plan = "\n".join(row[0] for row in rows)
            assert set(re.findall(r"using (\w+) on changes", plan)) == {
                f"{name}_pkey" for name in re.findall(r"on (changes_\w+)", plan)
            }
            assert sum(map(int, re.findall(r"Rows Removed by Filter: (\d+)", plan))) == 0
