"""The trash: what was deleted comes back as it was, once, in time, and only where its values have a place."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from api.data.app import DataApi
from core import ids
from core.schema.ops.add_field import AddField
from core.schema.ops.clear_required import ClearRequired
from core.schema.ops.drop_field import DropField
from core.schema.ops.require_field import RequireField
from core.schema.ops.set_trash import SetTrash
from core.schema.spec import FieldSpec
from db.data.ddl import DDL
from db.data.ddl.base import Target
from tests.api.data.conftest import Client
from tests.api.data.test_app import _check
from tests.api.data.test_records import EMPTY, FULL
from tests.api.data.world import Base, World


def trash(base: Base) -> str:
    return base.path().removesuffix("records") + "trash"


async def step(base: Base, op: Any) -> None:
    """Take a step of a schema application."""
    target = Target(base.tenant_id, base.workspace_id, base.id, 1, 1)
    await base.apply(DDL[op.kind].up(op, target))


def on(base: Base, name: str) -> dict[str, Any]:
    """What an operation on a field of the table is about."""
    table = base.tables["Tasks"]
    field_id = next(f.id for f in table.fields if f.name == name)
    return {"pointer": "", "table_id": table.id, "table": "Tasks", "field_id": field_id, "field": name}


async def made(base: Base, editor: httpx.AsyncClient, **fields: Any) -> str:
    """Create a record; returns where it is."""
    answer = await editor.post(base.path(), json={"fields": {"Name": "a"} | fields})
    assert answer.status_code == 201
    return answer.headers["location"]


async def age(base: Base, record_id: str, days: float) -> None:
    """Make a record's changes so much older."""
    async with base.world.databases.administer("data") as conn:
        await conn.execute("select platform.ensure_partitions((now() - interval '1 year')::date, 13)")
        await conn.execute(
            "update platform.changes set changed_at = changed_at - make_interval(secs => $3)"
            " where tenant_id = $1 and record_id = $2",
            base.tenant_id,
            record_id,
            days * 86_400,
        )


async def test_a_deleted_record_comes_back_as_it_was(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    where = await made(base, editor, **FULL)
    before = (await editor.patch(where, json={"fields": {"Count": 7}})).json()
    gone = (await editor.delete(where)).json()
    assert gone["version"] == 3
    back = await editor.post(f"{where}/restore")
    assert back.status_code == 200, back.text
    record = back.json()
    assert record.pop("dropped_fields") == []
    assert record["updated_at"] > before["updated_at"]
    assert record == before | {"version": 4, "updated_at": record["updated_at"]}
    assert back.headers["etag"] == '"v4"'
    assert (await editor.get(where)).json() == record
    rows = await world.changes(base)
    assert [(r["action"], r["version"]) for r in rows] == [
        ("create", 1), ("update", 2), ("delete", 3), ("restore", 4)
    ]  # fmt: skip
    assert rows[3]["operation_id"] == back.headers["x-request-id"]
    assert rows[3]["before"] is None
    after, once = json.loads(rows[3]["after"]), json.loads(rows[0]["after"])
    assert (after["created_by"], after["created_at"]) == (once["created_by"], once["created_at"])
    # And the way goes on from there.
    assert (await editor.patch(where, json={"fields": {"Count": 8}})).json()["version"] == 5
    assert (await editor.delete(where)).json()["version"] == 6
    assert (await editor.post(f"{where}/restore")).json()["version"] == 7


async def test_the_trash_lists_what_can_be_restored_the_last_deleted_first(
    base: Base, editor: httpx.AsyncClient
) -> None:
    rows = [{"fields": {"Name": f"n{n}"}} for n in range(7)]
    records = (await editor.post(base.path(), json={"records": rows})).json()["records"]
    for record in records[:4]:
        await editor.delete(f"{base.path()}/{record['id']}")
    both = [records[4]["id"], records[5]["id"]]
    await editor.delete(base.path(), params=[("id", record_id) for record_id in both])
    await editor.post(f"{base.path()}/{records[1]['id']}/restore")
    await editor.post(f"{base.path()}/{records[2]['id']}/restore")
    await editor.delete(f"{base.path()}/{records[2]['id']}")
    expected = [records[n]["id"] for n in (2, 5, 4, 3, 0)]
    whole = (await editor.get(trash(base))).json()
    assert [r["id"] for r in whole["records"]] == expected
    assert whole["next_cursor"] is None
    first = whole["records"][0]
    assert (first["version"], first["fields"]) == (4, EMPTY | {"Name": "n2"})
    assert datetime.fromisoformat(first["purge_at"]) - datetime.fromisoformat(
        first["deleted_at"]
    ) == timedelta(30)
    assert list(first["deleted_by"]) == ["user_id", "token_id"]
    assert ids.is_ulid(first["deleted_by"]["token_id"])
    paged: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = (await editor.get(trash(base), params={"limit": 2} | cursor)).json()
        paged += [r["id"] for r in page["records"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert paged == expected


async def test_what_is_not_deleted_is_not_restored(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor)
    here = await editor.post(f"{where}/restore")
    assert (here.status_code, here.json()["code"]) == (409, "not_deleted")
    await editor.delete(where)
    assert (await editor.post(f"{where}/restore")).status_code == 200
    again = await editor.post(f"{where}/restore")
    assert (again.status_code, again.json()["code"]) == (409, "not_deleted")
    for nobody in (ids.new(), "x"):
        assert (await editor.post(f"{base.path()}/{nobody}/restore")).status_code == 404


async def test_who_repeats_a_restore_is_answered_the_same(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    where = await made(base, editor, Count=1)
    await editor.delete(where)
    key = {"Idempotency-Key": "once"}
    first = await editor.post(f"{where}/restore", headers=key)
    await editor.patch(where, json={"fields": {"Count": 2}})
    for _ in range(2):
        again = await editor.post(f"{where}/restore", headers=key)
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["idempotency-hit"] == "true"
        assert again.headers["etag"] == '"v3"'
        await editor.delete(where)
    other = await editor.post(f"{where}/restore", headers=key, json={"fields": {"Count": 3}})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert len([row for row in await world.changes(base) if row["action"] == "restore"]) == 1
    never = await editor.post(f"{base.path()}/{ids.new()}/restore", headers={"Idempotency-Key": "never"})
    assert never.status_code == 404


async def test_of_restores_at_once_one_wins(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    where = await made(base, editor)
    for turn in range(5):
        await editor.delete(where)
        answers = await asyncio.gather(*(editor.post(f"{where}/restore") for _ in range(6)))
        assert sorted(a.status_code for a in answers) == [200, *[409] * 5], turn
        assert {a.json()["code"] for a in answers if a.status_code == 409} == {"not_deleted"}
    versions = [row["version"] for row in await world.changes(base)]
    assert sorted(versions) == list(range(1, 12))


async def test_restores_and_deletes_that_cross_count_each_version_once(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    where = await made(base, editor)

    async def delete() -> None:
        for _ in range(40):
            assert (await editor.delete(where)).status_code in (200, 404)

    async def restore() -> None:
        for _ in range(40):
            assert (await editor.post(f"{where}/restore")).status_code in (200, 409, 503)

    await asyncio.gather(delete(), delete(), restore(), restore(), restore())
    rows = sorted(await world.changes(base), key=lambda row: row["version"])
    assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["action"] for row in rows[1:]] == [("delete", "restore")[n % 2] for n in range(len(rows) - 1)]
    assert len(rows) > 3


async def test_a_value_that_was_taken_meanwhile_is_told_and_can_be_replaced(
    base: Base, editor: httpx.AsyncClient
) -> None:
    where = await made(base, editor, Mail="a@b.co")
    await editor.delete(where)
    await made(base, editor, Mail="a@b.co")
    taken = await editor.post(f"{where}/restore")
    assert (taken.status_code, taken.json()["code"]) == (409, "duplicate_value")
    assert taken.json()["errors"][0]["pointer"] == "/fields/Mail"
    wrong = await editor.post(f"{where}/restore", json={"fields": {"Mail": "no mail"}})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/fields/Mail")
    unknown = await editor.post(f"{where}/restore", json={"fields": {"Mial": "c@b.co"}})
    assert "did you mean 'Mail'" in unknown.json()["errors"][0]["detail"]
    many = await editor.post(f"{where}/restore", json={"records": [{"id": ids.new(), "fields": {}}]})
    assert many.json()["errors"][0]["code"] == "one_or_many"
    back = await editor.post(f"{where}/restore", json={"fields": {"Mail": "c@b.co", "Name": "b"}})
    assert back.status_code == 200
    assert back.json()["fields"] == EMPTY | {"Name": "b", "Mail": "c@b.co"}


async def test_fields_that_came_and_went_meanwhile(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor, Note="gone", Count=3)
    key = {"Idempotency-Key": "k"}
    await editor.delete(where)
    dropped = on(base, "Note")["field_id"]
    await step(base, DropField(**on(base, "Note")))
    new = FieldSpec(id=ids.new(), name="New", type="text")
    number = FieldSpec(id=ids.new(), name="No", type="autonumber")
    for field in (new, number):
        await step(base, AddField(pointer="", table_id=base.tables["Tasks"].id, table="Tasks", field=field))
    listed = (await editor.get(trash(base))).json()["records"][0]
    assert listed["dropped_fields"] == [dropped]
    assert "Note" not in listed["fields"]
    assert listed["fields"]["Count"] == 3
    back = await editor.post(f"{where}/restore", headers=key)
    assert back.status_code == 200, back.text
    assert back.json()["dropped_fields"] == [dropped]
    assert back.json()["fields"]["New"] is None
    assert back.json()["fields"]["No"] == 1
    assert (await editor.post(f"{where}/restore", headers=key)).json() == back.json()
    # A number that the record had stays its number.
    await editor.delete(where)
    assert (await editor.post(f"{where}/restore")).json()["fields"]["No"] == 1


async def test_a_field_that_is_required_now_must_be_filled(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor)
    await editor.delete(where)
    await step(base, RequireField(**on(base, "Site")))
    lacks = await editor.post(f"{where}/restore")
    assert lacks.status_code == 422
    assert [(e["pointer"], e["code"]) for e in lacks.json()["errors"]] == [("/fields/Site", "required")]
    back = await editor.post(f"{where}/restore", json={"fields": {"Site": "https://a.b/"}})
    assert (back.status_code, back.json()["fields"]["Site"]) == (200, "https://a.b/")
    await step(base, ClearRequired(**on(base, "Site")))


async def test_a_choice_that_is_gone_does_not_come_back(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor, Status="closed")
    await editor.delete(where)
    fields = base.tables["Tasks"].fields
    status = next(f for f in fields if f.name == "Status")
    fewer = {"choices": status.options["choices"][:-1]}
    async with base.world.databases.administer("data") as conn:
        await conn.execute(
            f"update tenant_{base.tenant_id}.fields set options_json = $2::text::jsonb where id = $1",
            status.id,
            json.dumps(fewer),
        )
    await base.apply([])
    gone = await editor.post(f"{where}/restore")
    assert gone.status_code == 422
    assert gone.json()["errors"][0]["pointer"] == "/fields/Status"
    assert (await editor.post(f"{where}/restore", json={"fields": {"Status": "open"}})).status_code == 200


async def test_a_table_says_for_how_long(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor)
    record_id = where.rpartition("/")[2]
    gone = (await editor.delete(where)).json()
    assert datetime.fromisoformat(gone["purge_at"]) == datetime.fromisoformat(
        (await editor.get(trash(base))).json()["records"][0]["deleted_at"]
    ) + timedelta(days=30)
    await age(base, record_id, 29.9)
    assert len((await editor.get(trash(base))).json()["records"]) == 1
    days = {"pointer": "", "table_id": base.tables["Tasks"].id, "table": "Tasks", "old_days": 30}
    await step(base, SetTrash(new_days=29, **days))
    assert (await editor.get(trash(base))).json()["records"] == []
    late = await editor.post(f"{where}/restore")
    assert (late.status_code, late.json()["code"]) == (410, "trash_expired")
    assert datetime.fromisoformat(late.json()["purge_at"]) < datetime.now().astimezone()
    await step(base, SetTrash(new_days=31, **days))
    assert (await editor.post(f"{where}/restore")).status_code == 200


async def test_a_dry_run_tells_what_a_restore_would_do(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    where = await made(base, editor, Count=1)
    await editor.delete(where)
    dry = {"Prefer": "tx=rollback", "Idempotency-Key": "dry"}
    would = await editor.post(f"{where}/restore", headers=dry)
    assert (would.status_code, would.json()["version"], would.json()["fields"]["Count"]) == (200, 3, 1)
    assert would.headers["preference-applied"] == "tx=rollback"
    assert (await editor.get(where)).status_code == 404
    assert [row["version"] for row in await world.changes(base)] == [1, 2]
    assert (await editor.post(f"{where}/restore", headers={"Idempotency-Key": "dry"})).json()["version"] == 3


async def test_if_match_is_about_the_version_of_the_deletion(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor)
    await editor.delete(where)
    stale = await editor.post(f"{where}/restore", headers={"If-Match": '"v1"'})
    assert (stale.status_code, stale.json()["version"]) == (412, 2)
    assert (await editor.post(f"{where}/restore", headers={"If-Match": '"v2"'})).status_code == 200


async def test_who_may_see_the_trash_and_who_may_restore(
    base: Base, client: Client, editor: httpx.AsyncClient
) -> None:
    where = await made(base, editor, Note="secret")
    await editor.delete(where)
    reader, writer = client(await base.token("records:read")), client(await base.token("records:write"))
    viewer = client(await base.token(role="viewer"))
    assert len((await reader.get(trash(base))).json()["records"]) == 1
    assert (await writer.get(trash(base))).status_code == 403
    for http in (reader, viewer):
        refused = await http.post(f"{where}/restore")
        assert (refused.status_code, refused.json()["code"]) == (403, "read_only")
    back = await writer.post(f"{where}/restore")
    assert (back.status_code, back.json()["fields"]) == (200, {})
    assert "secret" not in back.text


async def test_nothing_is_reached_from_outside(
    base: Base, client: Client, editor: httpx.AsyncClient, world: World
) -> None:
    where = await made(base, editor, Note="secret")
    await editor.delete(where)
    other = await world.base(base.tenant_id)
    other.tables["Tasks"] = base.tables["Tasks"]
    stranger = await world.tenant()
    await stranger.add_table("Tasks")
    second = await base.add_table("Second")
    for who, path in (
        (await other.token(base_id=other.id), where),
        (await other.token(base_id=other.id), where.replace(base.id, other.id)),
        (await stranger.token(), where),
        (await stranger.token(), stranger.path() + "/" + where.rpartition("/")[2]),
        (await base.token(), where.replace(str(base.tables["Tasks"].id), str(second.id))),
    ):
        http = client(who)
        assert (await http.post(f"{path}/restore")).status_code == 404
        listed = await http.get(path.rpartition("/records/")[0] + "/trash")
        assert "secret" not in listed.text
        assert listed.status_code == 404 or listed.json()["records"] == []
    assert (await editor.post(f"{where}/restore")).status_code == 200


@pytest.mark.parametrize(
    ("query", "code", "pointer"),
    [
        ("limit=0", "invalid_parameter", "limit"),
        ("limit=1001", "invalid_parameter", "limit"),
        ("limit=x", "invalid_parameter", "limit"),
        ("sort=Name", "bad_request", "sort"),
        ("cursor=x", "cursor_unreadable", "cursor"),
        ("limit=1&limit=2", "bad_request", "limit"),
    ],
)
async def test_bad_parameters_are_named(
    base: Base, editor: httpx.AsyncClient, query: str, code: str, pointer: str
) -> None:
    answer = await editor.get(f"{trash(base)}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (410 if pointer == "cursor" else 400, code)
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_every_answer_is_as_described(base: Base, app: DataApi, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor, **FULL)
    spec, one = app.openapi(), "/bases/{base_id}/tables/{table_id}/records/{record_id}"
    table = one.partition("/records")[0]
    for path, method, url, status in (
        (one, "DELETE", where, 200),
        (table + "/trash", "GET", trash(base), 200),
        (table + "/trash", "GET", f"{trash(base)}?limit=x", 400),
        (table + "/trash", "GET", f"{trash(base)}?cursor=x", 410),
        (one + "/restore", "POST", f"{where}/restore", 200),
        (one + "/restore", "POST", f"{where}/restore", 409),
        (one + "/history", "GET", f"{where}/history", 200),
        (one + "/history", "GET", f"{base.path()}/{ids.new()}/history", 404),
        (one, "GET", f"{where}?as_of=2020-01-01T00:00:00Z", 410),
        (one.removesuffix("/{record_id}"), "GET", f"{base.path()}?as_of=2020-01-01T00:00:00Z", 410),
    ):
        answer = await editor.request(method, url)
        assert answer.status_code == status
        content = spec["paths"][path][method.lower()]["responses"][str(status)]["content"]
        _check(answer.json(), content[answer.headers["content-type"]]["schema"], spec)


async def test_bad_restores_are_refused(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor)
    await editor.delete(where)
    for content, status in ((b"{", 400), (b"[]", 422), (b"{}", 422), (b'{"fields":{"Name":null}}', 422)):
        assert (await editor.post(f"{where}/restore", content=content)).status_code == status, content
    assert (await editor.post(f"{where}/restore?x=1")).status_code == 400
    assert (await editor.post(f"{where}/restore", headers={"If-Match": "v1"})).status_code == 400
    assert (await editor.get(f"{where}/restore")).status_code == 405
    assert (await editor.post(f"{where}/restore")).status_code == 200


async def test_a_restore_that_waited_for_another_one_looks_again(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """While it waits the record is restored and deleted again: the version that it would write is taken."""
    where = await made(base, editor)
    record_id = where.rpartition("/")[2]
    await editor.delete(where)
    table = f'tenant_{base.tenant_id}."t_{base.tables["Tasks"].id}"'
    name = base.tables["Tasks"].fields[0].id
    async with world.databases.administer("data") as conn, world.databases.administer("data") as watcher:
        async with conn.transaction():
            await conn.execute(
                f"insert into {table} (id, version, \"f_{name}\") values ($1, 3, 'other')", record_id
            )
            await conn.execute(f"delete from {table} where id = $1", record_id)
            waiting = asyncio.create_task(editor.post(f"{where}/restore"))
            pid = conn.get_server_pid()
            for _ in range(200):
                if await watcher.fetchval(
                    "select true from pg_stat_activity where $1 = any (pg_blocking_pids(pid)) limit 1", pid
                ):
                    break
                await asyncio.sleep(0.02)
            else:
                raise TimeoutError("the restore never waited")
        late = await waiting
    assert (late.status_code, late.json()["code"]) == (503, "busy")
    rows = await world.changes(base)
    assert [row["version"] for row in rows] == [1, 2, 3, 4]
    assert (await editor.post(f"{where}/restore")).json()["version"] == 5
