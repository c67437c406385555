"""Links: what a write may name, what both sides show, and that nobody reaches through one what is somebody else's."""

import json
from typing import Any

import httpx
import pytest

from core import ids
from core.schema.diff import diff
from core.schema.spec import BaseSpec, TableSpec, read_spec
from core.schema.types.link import MAX_LINKS
from db.data import names
from db.data.ddl import DDL
from db.data.ddl.base import Sql, Target
from tests.api.data.conftest import Client
from tests.api.data.world import Base, World

TABLES: list[dict[str, Any]] = [
    {"name": "People", "fields": [{"name": "Name", "type": "text"}]},
    {
        "name": "Tasks",
        "fields": [
            {"name": "Title", "type": "text"},
            {"name": "Who", "type": "link", "options": {"table": "People", "inverse": "Tasks"}},
            {
                "name": "Lead",
                "type": "link",
                "options": {"table": "People", "many": False, "inverse": "Leads"},
            },
            {"name": "After", "type": "link", "options": {"table": "Tasks", "inverse": "Before"}},
        ],
    },
]


async def want(base: Base, tables: list[dict[str, Any]]) -> None:
    """Bring the base's schema to a spec, as schema applications do."""
    plan = diff(BaseSpec(tables=tuple(base.tables.values())), read_spec({"tables": tables}), ids.stream())
    target = Target(base.tenant_id, base.workspace_id, base.id, 1, 1)
    for step in plan.steps:
        ddl = DDL[step.kind]
        index = [Sql(ddl.index(step, target).create.replace("concurrently", ""))] if ddl.index else []
        await base.apply([*index, *ddl.up(step, target)])
    base.tables = {table.name: table for table in plan.spec.tables}


def spec_of(*tables: TableSpec) -> list[dict[str, Any]]:
    """The spec of tables, to be changed."""
    return [table.model_dump(mode="json") for table in tables]


@pytest.fixture
async def base(world: World) -> Base:
    """A new tenant's base of two tables with links."""
    made = await world.tenant()
    await want(made, TABLES)
    return made


async def add(http: httpx.AsyncClient, base: Base, table: str, *records: dict[str, Any]) -> list[str]:
    """Create records and return their ids."""
    made = await http.post(base.path(table), json={"records": [{"fields": fields} for fields in records]})
    assert made.status_code == 201, made.text
    return [record["id"] for record in made.json()["records"]]


async def fields(http: httpx.AsyncClient, base: Base, table: str, record_id: str) -> dict[str, Any]:
    """Return a record's fields as a get and a list answer them, which is the same."""
    got = await http.get(f"{base.path(table)}/{record_id}")
    assert got.status_code == 200, got.text
    listed = (await http.get(base.path(table), params={"limit": "1000"})).json()["records"]
    assert got.json() in listed
    found: dict[str, Any] = got.json()["fields"]
    return found


async def test_both_sides_show_a_link(base: Base, editor: httpx.AsyncClient) -> None:
    ann, bob, cid = await add(editor, base, "People", {"Name": "Ann"}, {"Name": "Bob"}, {})
    one = await editor.post(base.path("Tasks"), json={"fields": {"Title": "a", "Who": [bob, ann]}})
    assert one.json()["fields"] == {
        "Title": "a", "Who": [bob, ann], "Lead": [], "After": [], "Before": [],
    }  # fmt: skip
    first = one.json()["id"]
    second, third = await add(
        editor, base, "Tasks", {"Who": [ann], "Lead": [cid], "After": [first]}, {"Who": [], "Lead": None}
    )
    assert await fields(editor, base, "People", ann) == {"Name": "Ann", "Tasks": [first, second], "Leads": []}
    assert (await fields(editor, base, "People", cid))["Leads"] == [second]
    assert (await fields(editor, base, "Tasks", first))["Before"] == [second]
    assert (await fields(editor, base, "Tasks", third))["Lead"] == []
    some = await editor.get(f"{base.path('People')}/{ann}", params={"fields": "Tasks"})
    assert some.json()["fields"] == {"Tasks": [first, second]}


async def test_changes_move_the_link_on_both_sides(base: Base, editor: httpx.AsyncClient) -> None:
    ann, bob = await add(editor, base, "People", {}, {})
    one, two = await add(editor, base, "Tasks", {"Who": [ann]}, {"Who": [ann], "Title": "b"})
    path = base.path("Tasks")

    async def tasks_of(person: str) -> list[str]:
        found: list[str] = (await fields(editor, base, "People", person))["Tasks"]
        return found

    changed = await editor.patch(f"{path}/{one}", json={"fields": {"Who": [bob, ann]}})
    assert (changed.json()["version"], changed.json()["fields"]["Who"]) == (2, [bob, ann])
    assert (await tasks_of(ann), await tasks_of(bob)) == ([one, two], [one])
    other = await editor.patch(f"{path}/{one}", json={"fields": {"Title": "only this"}})
    assert (other.json()["version"], other.json()["fields"]["Who"]) == (3, [bob, ann])
    same = await editor.patch(f"{path}/{one}", json={"fields": {"Who": [bob, ann], "Lead": []}})
    assert same.json()["version"] == 3
    order = await editor.patch(f"{path}/{one}", json={"fields": {"Who": [ann, bob]}})
    assert (order.json()["version"], order.json()["fields"]["Who"]) == (4, [ann, bob])
    many = [{"id": one, "fields": {"Title": "x"}}, {"id": two, "fields": {"Who": [bob]}}]
    assert (await editor.patch(path, json={"records": many})).status_code == 200
    assert (await tasks_of(ann), await tasks_of(bob)) == ([one], [one, two])
    cleared = [{"id": two, "fields": {}}, {"id": one, "fields": {"Who": [bob]}}]
    assert (await editor.put(path, json={"records": cleared})).status_code == 200
    assert (await tasks_of(ann), await tasks_of(bob)) == ([], [one])
    assert (await editor.put(f"{path}/{one}", json={"fields": {}})).json()["fields"]["Who"] == []
    assert await tasks_of(bob) == []


async def test_what_is_no_record_of_the_linked_table_is_refused_where_it_stands(
    world: World, base: Base, editor: httpx.AsyncClient, client: Client
) -> None:
    [ann] = await add(editor, base, "People", {})
    [task] = await add(editor, base, "Tasks", {"Title": "t"})
    same_tenant, stranger = await world.base(base.tenant_id), await world.tenant()
    others = []
    for other in (same_tenant, stranger):
        await want(other, TABLES)
        others += await add(client(await other.token()), other, "People", {"Name": "theirs"})
    path = base.path("Tasks")
    for wrong in (*others, task, ids.new()):
        for method, address, body, place in (
            ("POST", path, {"fields": {"Who": [ann, wrong]}}, "/fields/Who/1"),
            ("POST", path, {"records": [{"fields": {}}, {"fields": {"Lead": [wrong]}}]}, "/records/1/fields/Lead/0"),
            ("PATCH", f"{path}/{task}", {"fields": {"Lead": [wrong]}}, "/fields/Lead/0"),
            ("PUT", f"{path}/{task}", {"fields": {"Who": [wrong, ann]}}, "/fields/Who/0"),
            ("PATCH", path, {"records": [{"id": task, "fields": {"Who": [wrong]}}]}, "/records/0/fields/Who/0"),
            ("PUT", path, {"records": [{"id": task, "fields": {"Who": [ann, wrong]}}]}, "/records/0/fields/Who/1"),
        ):  # fmt: skip
            refused = await editor.request(method, address, json=body)
            assert refused.status_code == 422, refused.text
            faults = [(fault["pointer"], fault["code"]) for fault in refused.json()["errors"]]
            assert faults == [(place, "unknown_record")]
            assert wrong not in json.dumps(refused.json()["detail"])
    assert (await fields(editor, base, "Tasks", task))["Who"] == []
    assert len((await editor.get(path)).json()["records"]) == 1
    assert (await fields(editor, base, "People", ann))["Tasks"] == []


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("Who", "01jd0000000000000000000000", "/fields/Who"),
        ("Who", ["no id"], "/fields/Who/0"),
        ("Who", [None], "/fields/Who/0"),
        ("Who", ["01jd0000000000000000000000"] * 2, "/fields/Who"),
        ("Who", ids.batch(ids.parse("01jd0000000000000000000000"), MAX_LINKS + 1), "/fields/Who"),
        ("Lead", ids.batch(ids.parse("01jd0000000000000000000000"), 2), "/fields/Lead"),
        ("Before", [], "/fields/Before"),
    ],
    ids=lambda part: str(part)[:20],
)
async def test_a_link_is_an_array_of_ids_each_once(
    base: Base, editor: httpx.AsyncClient, name: str, value: Any, place: str
) -> None:
    refused = await editor.post(base.path("Tasks"), json={"fields": {name: value}})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, place)


async def test_an_inverse_cannot_be_written(base: Base, editor: httpx.AsyncClient) -> None:
    [task] = await add(editor, base, "Tasks", {})
    refused = await editor.post(base.path("People"), json={"fields": {"Tasks": [task]}})
    fault = refused.json()["errors"][0]
    assert (refused.status_code, fault["pointer"], fault["code"]) == (422, "/fields/Tasks", "read_only_field")


async def test_as_many_links_as_there_may_be(base: Base, editor: httpx.AsyncClient) -> None:
    people = await add(editor, base, "People", *({} for _ in range(MAX_LINKS)))
    [task] = await add(editor, base, "Tasks", {"Who": people[::-1]})
    assert (await fields(editor, base, "Tasks", task))["Who"] == people[::-1]
    await add(editor, base, "Tasks", *({"Lead": [people[0]]} for _ in range(MAX_LINKS)))
    await add(editor, base, "Tasks", {"Lead": [people[0]]})
    leads = (await fields(editor, base, "People", people[0]))["Leads"]
    assert len(leads) == MAX_LINKS
    assert leads == sorted(leads)


async def test_a_deleted_record_is_shown_by_no_link_and_a_restored_one_by_all(
    base: Base, editor: httpx.AsyncClient
) -> None:
    ann, bob = await add(editor, base, "People", {"Name": "Ann"}, {})
    one, two = await add(editor, base, "Tasks", {"Who": [ann, bob], "Lead": [ann]}, {"Who": [ann]})
    await editor.delete(f"{base.path('People')}/{ann}")
    shown = await fields(editor, base, "Tasks", one)
    assert (shown["Who"], shown["Lead"]) == ([bob], [])
    refused = await editor.patch(f"{base.path('Tasks')}/{two}", json={"fields": {"Who": [ann]}})
    assert refused.status_code == 422
    # Sent back as it was read, nothing changes, what is not shown included.
    back = await editor.put(f"{base.path('Tasks')}/{one}", json={"fields": {"Who": [bob], "Lead": []}})
    assert back.json()["version"] == 1
    await _bring_back(editor, base, "People", ann)
    assert (await fields(editor, base, "Tasks", one))["Who"] == [ann, bob]
    assert (await fields(editor, base, "Tasks", two))["Who"] == [ann]
    assert (await fields(editor, base, "People", ann))["Tasks"] == [one, two]
    await editor.delete(f"{base.path('Tasks')}/{one}")
    assert (await fields(editor, base, "People", bob))["Tasks"] == []
    await _bring_back(editor, base, "Tasks", one)
    assert (await fields(editor, base, "People", bob))["Tasks"] == [one]
    # What a change of that very field leaves out is left out for good.
    await editor.delete(f"{base.path('People')}/{ann}")
    await editor.patch(f"{base.path('Tasks')}/{one}", json={"fields": {"Who": []}})
    await _bring_back(editor, base, "People", ann)
    assert (await fields(editor, base, "Tasks", one))["Who"] == []


async def _bring_back(http: httpx.AsyncClient, base: Base, table: str, record_id: str) -> None:
    restored = await http.post(f"{base.path(table)}/{record_id}/restore")
    assert restored.status_code == 200, restored.text
    assert restored.json()["fields"] == await fields(http, base, table, record_id)


async def test_a_repeated_call_answers_the_links_that_were_stored(
    base: Base, editor: httpx.AsyncClient
) -> None:
    ann, bob = await add(editor, base, "People", {}, {})
    [task] = await add(editor, base, "Tasks", {})
    path = base.path("Tasks")
    calls: list[tuple[str, str, Any]] = [
        ("POST", path, {"fields": {"Who": [bob, ann]}}),
        ("POST", path, {"records": [{"fields": {"Lead": [ann]}}, {"fields": {"Who": []}}]}),
        ("PATCH", f"{path}/{task}", {"fields": {"Who": [ann], "Title": "x"}}),
        ("PUT", path, {"records": [{"id": task, "fields": {"Lead": [bob], "Title": "y"}}]}),
    ]
    keys = [{"Idempotency-Key": f"link {n}"} for n in range(len(calls))]
    first = [await editor.request(m, a, json=b, headers=k) for (m, a, b), k in zip(calls, keys, strict=True)]
    await editor.patch(f"{path}/{task}", json={"fields": {"Who": [], "Lead": []}})
    for (method, address, body), key, before in zip(calls, keys, first, strict=True):
        again = await editor.request(method, address, json=body, headers=key)
        assert again.headers["Idempotency-Hit"] == "true"
        assert (again.status_code, again.json()) == (before.status_code, before.json())
    await editor.delete(f"{base.path('People')}/{ann}")
    gone = await editor.request(*calls[0][:2], json=calls[0][2], headers=keys[0])
    assert gone.json()["fields"]["Who"] == [bob]


async def test_the_change_log_holds_the_ids(world: World, base: Base, editor: httpx.AsyncClient) -> None:
    [ann] = await add(editor, base, "People", {})
    await add(editor, base, "Tasks", {"Who": [ann]})
    key = names.column_name(base.tables["Tasks"].fields[1].key)
    assert json.loads((await world.changes(base))[-1]["after"])[key] == [ann]


async def test_an_inverse_is_named_renamed_and_dropped_while_records_are_there(
    base: Base, editor: httpx.AsyncClient
) -> None:
    [ann] = await add(editor, base, "People", {})
    [task] = await add(editor, base, "Tasks", {"Who": [ann]})
    tables = spec_of(*base.tables.values())
    for inverse in ("Work", "Tasks", None):
        tables[1]["fields"][1]["options"]["inverse"] = inverse
        await want(base, tables)
        shown = await fields(editor, base, "People", ann)
        assert {name: value for name, value in shown.items() if value == [task]} == (
            {inverse: [task]} if inverse else {}
        )
        assert set(shown) == {"Name", "Leads", inverse} - {None}


async def test_one_becomes_many_and_a_dropped_link_leaves_nothing(
    world: World, base: Base, editor: httpx.AsyncClient
) -> None:
    ann, bob = await add(editor, base, "People", {}, {})
    [task] = await add(editor, base, "Tasks", {"Lead": [ann], "Who": [ann]})
    tables = spec_of(*base.tables.values())
    tables[1]["fields"][2]["options"]["many"] = True
    await want(base, tables)
    changed = await editor.patch(f"{base.path('Tasks')}/{task}", json={"fields": {"Lead": [bob, ann]}})
    assert changed.json()["fields"]["Lead"] == [bob, ann]
    del tables[1]["fields"][1:]
    await want(base, tables)
    assert await fields(editor, base, "People", ann) == {"Name": None}
    assert await fields(editor, base, "Tasks", task) == {"Title": None}
    assert (
        await editor.patch(f"{base.path('Tasks')}/{task}", json={"fields": {"Title": "t"}})
    ).status_code == 200
    assert await _pairs(world, base) == []


async def test_a_dropped_table_takes_its_links_along(
    world: World, base: Base, editor: httpx.AsyncClient
) -> None:
    [ann] = await add(editor, base, "People", {})
    await add(editor, base, "Tasks", {"Lead": [ann]})
    assert len(await _pairs(world, base)) == 3
    await want(base, spec_of(base.tables["People"]))
    assert await fields(editor, base, "People", ann) == {"Name": None}
    assert await _pairs(world, base) == []


async def _pairs(world: World, base: Base) -> list[str]:
    async with world.databases.own("data") as conn:
        return [
            row[0]
            for row in await conn.fetch(
                "select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                " where n.nspname = $1 and c.relkind = 'r' and starts_with(relname, 'l_')",
                names.schema_name(base.tenant_id),
            )
        ]


async def test_a_link_required_must_have_one(base: Base, editor: httpx.AsyncClient) -> None:
    tables = spec_of(*base.tables.values())
    tables[1]["fields"][1]["required"] = True
    await want(base, tables)
    [ann] = await add(editor, base, "People", {})
    for wrong in ({}, {"Who": []}, {"Who": None}):
        refused = await editor.post(base.path("Tasks"), json={"fields": wrong})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/fields/Who")
    await add(editor, base, "Tasks", {"Who": [ann]})


async def test_the_other_side_is_found_by_an_index_behind_the_wall(world: World, base: Base) -> None:
    field = base.tables["Tasks"].fields[1]
    pairs = names.pairs(base.tenant_id, field.key)
    async with world.databases.connect("data_api", "data") as conn, conn.transaction():
        await conn.execute(
            "select set_config('pb.claims', $1, true)",
            f"{base.tenant_id} {base.workspace_id} {base.id} viewer",
        )
        await conn.execute(f"set local role {names.role(base.tenant_id)}; set local enable_seqscan = off")
        plan = await conn.fetch(
            f"explain select source from {pairs} where target = 'x' order by source limit 10"
        )
    lines = [row[0] for row in plan]
    assert any("Index Cond" in line and "target" in line for line in lines), lines


async def test_records_are_found_through_their_links_from_both_sides(
    base: Base, editor: httpx.AsyncClient
) -> None:
    ann, bob, cid = await add(editor, base, "People", {"Name": "Ann"}, {"Name": "Bob"}, {"Name": "Cid"})
    one, two, _ = await add(
        editor, base, "Tasks", {"Title": "a", "Who": [ann, bob]}, {"Title": "b", "Who": [cid]}, {"Title": "c"}
    )

    async def found(table: str, condition: str) -> list[str]:
        answer = await editor.get(base.path(table), params={"filter": condition})
        assert answer.status_code == 200, answer.text
        return [next(iter(record["fields"].values())) for record in answer.json()["records"]]

    async def both() -> list[list[str]]:
        return [
            await found("Tasks", "Who.some.(Name.eq.Ann)"),
            await found("Tasks", "Who.is.null"),
            await found("Tasks", "Who.is.not_null"),
            await found("Tasks", f"Who.has_any.({ann},{cid})"),
            await found("People", "Tasks.some.(Title.eq.a)"),
            await found("People", "Tasks.none.(Title.eq.a)"),
            await found("People", "Tasks.is.null"),
            await found("Tasks", f"Who.has_none.({ann},{cid})"),
            await found("People", f"Tasks.has_any.({one},{two})"),
            await found("People", f"Tasks.has_none.({two})"),
            await found("Tasks", f"Who.has_all.({ann},{bob})"),
        ]

    assert await both() == [
        ["a"], ["c"], ["a", "b"], ["a", "b"], ["Ann", "Bob"], ["Cid"], [],
        ["c"], ["Ann", "Bob", "Cid"], ["Ann", "Bob"], ["a"],
    ]  # fmt: skip
    await editor.delete(f"{base.path('People')}/{cid}")
    assert await both() == [
        ["a"], ["b", "c"], ["a"], ["a"], ["Ann", "Bob"], [], [],
        ["b", "c"], ["Ann", "Bob"], ["Ann", "Bob"], ["a"],
    ]  # fmt: skip


async def test_row_by_row_only_the_record_with_the_wrong_link_is_refused(
    base: Base, editor: httpx.AsyncClient
) -> None:
    [ann] = await add(editor, base, "People", {})
    sent = [
        {"fields": {"Title": "a", "Who": [ann]}},
        {"fields": {"Title": "b", "Who": [ids.new()]}},
        {"fields": {"Title": "c"}},
    ]
    answer = await editor.post(base.path("Tasks"), params={"mode": "per_row"}, json={"records": sent})
    assert answer.status_code == 207, answer.text
    first, second, third = answer.json()["records"]
    assert (first["status"], third["status"]) == ("created", "created")
    fault = second["error"]["errors"][0]
    assert (fault["pointer"], fault["code"]) == ("/records/1/fields/Who", "unknown_record")
    assert (await fields(editor, base, "People", ann))["Tasks"] == [first["id"]]


async def test_links_are_checked_however_records_are_written(base: Base, editor: httpx.AsyncClient) -> None:
    tables = spec_of(*base.tables.values())
    tables[1]["fields"][0]["unique"] = True
    await want(base, tables)
    path = base.path("Tasks")
    ann, bob = await add(editor, base, "People", {}, {})
    [task] = await add(editor, base, "Tasks", {"Title": "a", "Who": [ann]})
    query = {"upsert": "Title"}
    for wrong, status in (([ids.new()], 422), ([bob, ann], 200)):
        body = {"records": [{"fields": {"Title": "a", "Who": wrong}}]}
        answer = await editor.post(path, params=query, json=body)
        assert answer.status_code == status, answer.text
    assert answer.json()["records"][0]["status"] == "updated"
    again = await editor.post(path, params=query, json=body)
    assert again.json()["records"][0]["status"] == "unchanged"
    found = {"filter": "Title.eq.a", "max-affected": "1"}
    for wrong, status in (([ids.new()], 422), ([bob], 200)):
        answer = await editor.patch(path, params=found, json={"fields": {"Who": wrong}})
        assert answer.status_code == status, answer.text
    assert (await fields(editor, base, "People", bob))["Tasks"] == [task]
    await editor.delete(f"{path}/{task}")
    for wrong, status in (([ids.new()], 422), ([ann], 200)):
        answer = await editor.post(f"{path}/{task}/restore", json={"fields": {"Who": wrong}})
        assert answer.status_code == status, answer.text
        if status == 422:
            assert answer.json()["errors"][0]["pointer"] == "/fields/Who/0"
    assert (await fields(editor, base, "People", bob))["Tasks"] == []
    assert (await fields(editor, base, "People", ann))["Tasks"] == [task]


async def test_history_tells_the_ids_as_they_were_held(base: Base, editor: httpx.AsyncClient) -> None:
    ann, bob = await add(editor, base, "People", {}, {})
    [task] = await add(editor, base, "Tasks", {"Who": [ann, bob]})
    address = f"{base.path('Tasks')}/{task}"
    changed = (await editor.patch(address, json={"fields": {"Who": []}})).json()
    await editor.delete(f"{base.path('People')}/{ann}")
    entries = (await editor.get(f"{address}/history")).json()["changes"]
    assert [entry["after"]["Who"] for entry in entries] == [[], [ann, bob]]
    assert entries[0]["changed"] == ["Who"]
    assert "Before" not in entries[0]["after"]
    then = await editor.get(address, params={"as_of": changed["created_at"]})
    assert then.json()["fields"]["Who"] == [ann, bob]


async def test_a_viewer_reads_both_sides_and_changes_neither(
    base: Base, editor: httpx.AsyncClient, client: Client
) -> None:
    [ann] = await add(editor, base, "People", {})
    [task] = await add(editor, base, "Tasks", {"Who": [ann]})
    viewer = client(await base.token("records:read"))
    assert (await fields(viewer, base, "People", ann))["Tasks"] == [task]
    assert (await fields(viewer, base, "Tasks", task))["Who"] == [ann]
    refused = await viewer.patch(f"{base.path('Tasks')}/{task}", json={"fields": {"Who": []}})
    assert refused.status_code == 403


@pytest.mark.parametrize("table", ["People", "Tasks"])
async def test_a_query_on_linked_tables_can_be_explained(
    base: Base, editor: httpx.AsyncClient, table: str
) -> None:
    condition = {"Tasks": "Who.some.(Name.eq.Ann)", "People": "Tasks.some.(Title.eq.a)"}[table]
    explained = await editor.get(base.path(table), params={"filter": condition, "explain": "true"})
    assert explained.status_code == 200, explained.text
    assert explained.json()["cost_class"] in ("scan", "sort")


async def test_the_bases_description_tells_links_from_inverses(base: Base, editor: httpx.AsyncClient) -> None:
    described = await editor.get(f"/bases/{base.id}/openapi.json")
    assert described.status_code == 200, described.text
    of_people = _properties(described.json(), {"Name", "Tasks", "Leads"})
    of_tasks = _properties(described.json(), {"Title", "Who", "Lead", "After", "Before"})
    assert (of_people["Tasks"]["readOnly"], of_people["Tasks"]["items"]["type"]) == (True, "string")
    assert of_tasks["Lead"]["maxItems"] == 1
    assert "readOnly" not in of_tasks["Who"]
    assert _properties(described.json(), {"Title", "Who", "Lead", "After"})


def _properties(document: dict[str, Any], named: set[str]) -> dict[str, Any]:
    """Return the properties of the schema in the document that has exactly these."""
    pending: list[Any] = [document]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            if isinstance(part.get("properties"), dict) and set(part["properties"]) == named:
                found: dict[str, Any] = part["properties"]
                return found
            pending += part.values()
    raise AssertionError(f"nothing has the properties {named}")
