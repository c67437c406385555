"""What changes under a caller's feet: other writers, the schema, the tenant's home."""

import asyncio
from typing import Any

import httpx
import pytest

from api.data.app import DataApi
from core import ids
from core.schema.ops.add_field import AddField
from core.schema.ops.drop_field import DropField
from core.schema.ops.rename_field import RenameField
from core.schema.ops.require_field import RequireField
from core.schema.spec import FieldSpec
from db.data import names
from db.data.ddl import DDL
from db.data.ddl.base import Target
from db.data.homes import Claims, Home
from tests.api.data.conftest import Client
from tests.api.data.world import Base, World


def _target(base: Base) -> Target:
    return Target(base.tenant_id, base.workspace_id, base.id, 1, 1)


async def _apply(base: Base, op: Any) -> None:
    await base.apply(DDL[op.kind].up(op, _target(base)))


def _on(base: Base, field: FieldSpec) -> dict[str, Any]:
    table = base.tables["Tasks"]
    return {
        "pointer": "",
        "table_id": table.id,
        "field_id": field.id,
        "table": table.name,
        "field": field.name,
    }


async def test_one_writer_wins_per_version(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    where = (await editor.post(base.path(), json={"fields": {"Name": "start"}})).headers["location"]
    record_id = where.rpartition("/")[2]
    for version in range(1, 11):
        tag = {"If-Match": f'"v{version}"'}
        item = {"id": record_id, "version": version}
        answers = await asyncio.gather(
            *(
                editor.patch(where, json={"fields": {"Name": f"{version} {n}"}}, headers=tag)
                for n in range(6)
            ),
            *(
                editor.put(where, json={"fields": {"Name": f"{version} {n}"}}, headers=tag)
                for n in range(6, 9)
            ),
            *(
                editor.patch(base.path(), json={"records": [item | {"fields": {"Name": f"{version} {n}"}}]})
                for n in range(9, 12)
            ),
        )
        assert sorted(a.status_code for a in answers) == [200] + [412] * 11
        (won,) = (a.json() for a in answers if a.status_code == 200)
        won = won.get("records", [won])[0]
        assert won["version"] == version + 1
        assert (await editor.get(where)).json() == won
    rows = await world.changes(base)
    assert sorted(r["version"] for r in rows) == list(range(1, 12))


async def test_writers_that_cross_lose_nothing(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    """Batches over the same records in opposite orders neither lock each other out nor lose an update."""
    rows = [{"fields": {"Name": f"{n}", "Count": 0}} for n in range(10)]
    made = (await editor.post(base.path(), json={"records": rows})).json()["records"]
    record_ids = [r["id"] for r in made]

    async def change(turn: int) -> None:
        order = record_ids if turn % 2 else record_ids[::-1]
        sent = [{"id": i, "fields": {"Count": turn}} for i in order]
        answer = await editor.patch(base.path(), json={"records": sent})
        assert answer.status_code == 200, answer.text

    await asyncio.gather(*(change(turn) for turn in range(1, 25)))
    found = (await editor.get(base.path())).json()["records"]
    assert len({r["fields"]["Count"] for r in found}) == 1
    # Whoever found his own value there already, after waiting, wrote nothing.
    changes = [r for r in await world.changes(base) if r["action"] == "update"]
    assert sorted(r["version"] for r in found) == sorted(
        1 + sum(c["record_id"] == i for c in changes) for i in record_ids
    )
    for record_id in record_ids:
        versions = [c["version"] for c in changes if c["record_id"] == record_id]
        assert sorted(versions) == list(range(2, len(versions) + 2))


async def test_two_that_delete_one_record_are_one_delete(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    where = (await editor.post(base.path(), json={"fields": {"Name": "a"}})).headers["location"]
    answers = await asyncio.gather(
        *(editor.delete(where) for _ in range(6)),
        *(editor.patch(where, json={"fields": {"Count": n}}) for n in range(6)),
    )
    assert sorted(a.status_code for a in answers[:6]) == [200] + [404] * 5
    rows = await world.changes(base)
    assert [r["action"] for r in rows].count("delete") == 1
    assert sorted(r["version"] for r in rows) == list(range(1, len(rows) + 1))


async def test_the_schema_changes_under_load_and_nobody_notices(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """While fields come, are renamed and go, callers of the fields that stay see no error and lose no write."""
    stop = asyncio.Event()
    written: list[str] = []

    async def write() -> None:
        while not stop.is_set():
            made = await editor.post(base.path(), json={"fields": {"Name": "a", "Count": 1}})
            assert made.status_code == 201, made.text
            written.append(made.json()["id"])
            changed = await editor.patch(made.headers["location"], json={"fields": {"Count": 2}})
            assert changed.status_code == 200, changed.text
            many = [{"fields": {"Name": "b"}}, {"fields": {"Name": "c"}}]
            batch = await editor.post(base.path(), json={"records": many})
            assert batch.status_code == 201, batch.text
            written.extend(r["id"] for r in batch.json()["records"])
            read = await editor.get(made.headers["location"])
            assert read.json()["fields"]["Count"] == 2
            assert (await editor.get(base.path(), params={"sort": "-Count", "limit": 5})).status_code == 200

    writers = [asyncio.create_task(write()) for _ in range(4)]
    try:
        table = base.tables["Tasks"]
        for turn in range(6):
            field = FieldSpec(id=ids.new(), name=f"New {turn}", type="integer")
            await _apply(base, AddField(pointer="", table_id=str(table.id), table=table.name, field=field))
            await asyncio.sleep(0.1)
            await _apply(base, RenameField(**_on(base, field), new_name=f"Newer {turn}"))
            await asyncio.sleep(0.1)
            await _apply(base, DropField(**_on(base, field)))
            await asyncio.sleep(0.1)
    finally:
        stop.set()
        await asyncio.gather(*writers)
    assert len(written) > 50
    created = [r["record_id"] for r in await world.changes(base) if r["action"] == "create"]
    assert sorted(created) == sorted(written)


async def test_a_new_name_is_known_at_once_and_the_old_one_no_more(
    base: Base, editor: httpx.AsyncClient
) -> None:
    field = base.tables["Tasks"].fields[2]
    where = (await editor.post(base.path(), json={"fields": {"Name": "a", "Count": 5}})).headers["location"]
    cursor_at = await editor.get(base.path(), params={"sort": "Count", "limit": 1})
    await _apply(base, RenameField(**_on(base, field), new_name="Number"))
    assert (await editor.get(where)).json()["fields"]["Number"] == 5
    assert (await editor.patch(where, json={"fields": {"Number": 6}})).status_code == 200
    old = await editor.patch(where, json={"fields": {"Count": 6}})
    assert (old.status_code, old.json()["errors"][0]["pointer"]) == (422, "/fields/Count")
    assert (await editor.get(base.path(), params={"sort": "Count"})).status_code == 400
    assert cursor_at.json()["next_cursor"] is None


async def test_a_new_field_is_known_to_the_first_who_names_it(base: Base, editor: httpx.AsyncClient) -> None:
    """Nothing has told the process that the schema is another: what it would refuse, it asks about first."""
    table = base.tables["Tasks"]
    where = (await editor.post(base.path(), json={"fields": {"Name": "a"}})).headers["location"]
    calls = [
        ("POST", base.path(), {"json": {"fields": {"Name": "b", "New 0": 1}}}),
        ("PATCH", where, {"json": {"fields": {"New 1": 1}}}),
        ("GET", base.path(), {"params": {"filter": '"New 2".is.null'}}),
        ("GET", base.path(), {"params": {"sort": "New 3"}}),
        ("GET", where, {"params": {"fields": "New 4"}}),
    ]
    for turn, (method, url, more) in enumerate(calls):
        field = FieldSpec(id=ids.new(), name=f"New {turn}", type="integer")
        await _apply(base, AddField(pointer="", table_id=str(table.id), table=table.name, field=field))
        answer = await editor.request(method, url, **more)
        assert answer.status_code in (200, 201), answer.text


async def test_a_flood_of_bad_requests_asks_little_of_the_database(
    base: Base, editor: httpx.AsyncClient, app: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals at the same time share one look, and those shortly after need none; what is new is met all the same."""
    monkeypatch.setattr("db.data.catalog.TRUSTED_S", 3_600.0)
    asked: list[str] = []
    read = Home.read

    async def counted(self: Home, claims: Claims, *rest: Any) -> Any:
        asked.append(claims.tenant_id)
        return await read(self, claims, *rest)

    assert (await editor.post(base.path(), json={"fields": {"Name": "a"}})).status_code == 201
    monkeypatch.setattr(Home, "read", counted)
    bad = {"fields": {"Name": "a", "New": 1}}
    for _ in range(2):
        answers = await asyncio.gather(*(editor.post(base.path(), json=bad) for _ in range(50)))
        assert {a.status_code for a in answers} == {422}
    assert (await editor.get(base.path(), params={"sort": "New"})).status_code == 400
    assert asked.count(base.tenant_id) == 1
    table = base.tables["Tasks"]
    field = FieldSpec(id=ids.new(), name="New", type="integer")
    await _apply(base, AddField(pointer="", table_id=str(table.id), table=table.name, field=field))
    monkeypatch.setattr("db.data.catalog.TRUSTED_S", 0.0)
    answers = await asyncio.gather(*(editor.post(base.path(), json=bad) for _ in range(20)))
    assert {a.status_code for a in answers} == {201}


async def test_a_cursor_outlives_a_rename(base: Base, editor: httpx.AsyncClient) -> None:
    field = base.tables["Tasks"].fields[2]
    rows = [{"fields": {"Name": f"{n}", "Count": n}} for n in range(6)]
    made = (await editor.post(base.path(), json={"records": rows})).json()["records"]
    page = (await editor.get(base.path(), params={"sort": "-Count", "limit": 3})).json()
    await _apply(base, RenameField(**_on(base, field), new_name="Number"))
    rest = await editor.get(
        base.path(), params={"sort": "-Number", "limit": 3, "cursor": page["next_cursor"]}
    )
    assert [r["id"] for r in rest.json()["records"]] == [r["id"] for r in made[2::-1]]


async def test_a_field_that_becomes_required_is_so_at_once(base: Base, editor: httpx.AsyncClient) -> None:
    where = (await editor.post(base.path(), json={"fields": {"Name": "a", "Count": 5}})).headers["location"]
    field = base.tables["Tasks"].fields[2]
    await _apply(base, RequireField(**_on(base, field)))
    for answer in (
        await editor.post(base.path(), json={"fields": {"Name": "b"}}),
        await editor.put(where, json={"fields": {"Name": "b"}}),
        await editor.patch(where, json={"fields": {"Count": None}}),
    ):
        assert answer.status_code == 422
        assert "/fields/Count" in [e["pointer"] for e in answer.json()["errors"]]


async def test_ddl_between_the_look_and_the_statement_is_met_once_more(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """A column that is there for the metadata and gone for the statement: 42703 means that the schema is old."""
    where = (await editor.post(base.path(), json={"fields": {"Name": "a", "Count": 5}})).headers["location"]
    field, table = base.tables["Tasks"].fields[2], base.tables["Tasks"]
    column = names.column(str(field.id))
    async with world.databases.own("data") as conn:
        await conn.execute("set role tenant_owner")
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute(f"alter table {names.table(base.tenant_id, str(table.id))} drop column {column}")
        # The caller passes the fence with the old catalog, and waits for the table.
        waiting = asyncio.create_task(editor.patch(where, json={"fields": {"Name": "b"}}))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        fields = names.metadata(base.tenant_id, "fields")
        tables = names.metadata(base.tenant_id, "tables")
        await conn.execute(f"delete from {fields} where id = $1", field.id)
        await conn.execute(f"update {tables} set schema_version = schema_version + 1 where id = $1", table.id)
        await conn.execute(
            "update platform.fences set catalog_version = catalog_version + 1 where tenant_id = $1",
            base.tenant_id,
        )
        await transaction.commit()
    answer = await waiting
    assert answer.status_code == 200, answer.text
    assert answer.json()["fields"]["Name"] == "b"
    assert "Count" not in answer.json()["fields"]


async def test_a_stale_route_is_read_again(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    """The generation moves in both places, the caches know nothing: callers notice nothing."""
    assert (await editor.post(base.path(), json={"fields": {"Name": "a"}})).status_code == 201
    async with world.databases.own("data") as conn:
        await conn.execute(
            "update platform.fences set generation = generation + 1 where tenant_id = $1", base.tenant_id
        )
    async with world.databases.own("control") as conn:
        # Without the trigger, so that nobody is told.
        await conn.execute("alter table gateway.placements disable trigger placements_tell")
        await conn.execute(
            "update gateway.placements set generation = generation + 1 where tenant_id = $1", base.tenant_id
        )
        await conn.execute("alter table gateway.placements enable trigger placements_tell")
    assert (await editor.post(base.path(), json={"fields": {"Name": "b"}})).status_code == 201
    assert len((await editor.get(base.path())).json()["records"]) == 2


async def test_a_closed_home_answers_503_until_it_opens(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    assert (await editor.post(base.path(), json={"fields": {"Name": "a"}})).status_code == 201
    for state, read, written in (("closed", 503, 503), ("open", 200, 201)):
        async with world.databases.own("data") as conn:
            await conn.execute(
                "update platform.fences set state = $2 where tenant_id = $1", base.tenant_id, state
            )
        for answer, expected in (
            (await editor.get(base.path()), read),
            (await editor.post(base.path(), json={"fields": {"Name": "b"}}), written),
        ):
            assert answer.status_code == expected
            assert (answer.status_code != 503) or int(answer.headers["retry-after"]) >= 1
    assert len(await world.changes(base)) == 2


async def test_a_write_waits_for_the_fence_and_then_sees_it(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """A cutover takes the tenant's lock, closes the home and lets go: a write that waited must not slip through."""
    assert (await editor.post(base.path(), json={"fields": {"Name": "a"}})).status_code == 201
    async with world.databases.own("data") as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", base.tenant_id)
        waiting = asyncio.create_task(editor.post(base.path(), json={"fields": {"Name": "late"}}))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        assert (await editor.get(base.path())).status_code == 200  # readers do not wait
        await conn.execute("update platform.fences set state = 'closed' where tenant_id = $1", base.tenant_id)
        await transaction.commit()
    assert (await waiting).status_code == 503
    assert len(await world.changes(base)) == 1


@pytest.mark.parametrize("turns", [60])
async def test_connections_go_from_tenant_to_tenant_and_carry_nothing_over(
    world: World, client: Client, turns: int
) -> None:
    """Many tenants through few connections, with refusals between: each sees its own records only."""
    bases = []
    for _ in range(4):
        made = await world.tenant()
        await made.add_table("Tasks")
        bases.append(made)
    https = [client(await b.token()) for b in bases]

    async def turn(n: int) -> None:
        base, http = bases[n % 4], https[n % 4]
        made = await http.post(base.path(), json={"fields": {"Name": base.id}})
        assert made.status_code == 201
        await http.get(f"{base.path()}/{ids.new()}")
        await http.patch(
            made.headers["location"], json={"fields": {"Name": base.id}}, headers={"If-Match": '"v9"'}
        )
        await http.get(f"/bases/{base.id}/tables/{bases[(n + 1) % 4].tables['Tasks'].id}/records")
        found = (await http.get(base.path(), params={"limit": 1000})).json()["records"]
        assert {r["fields"]["Name"] for r in found} == {base.id}

    await asyncio.gather(*(turn(n) for n in range(turns)))
