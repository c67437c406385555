"""Writes that come at once go together, and each is answered and kept as if it had come alone."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from core import ids
from db.data import names
from tests.api.data.bursts import Sent, burst, key, made, told, values
from tests.api.data.conftest import Client
from tests.api.data.test_links import want
from tests.api.data.world import Base, World


async def in_changes(world: World, base: Base) -> Counter[tuple[str, str, str | None]]:
    """How often each operation, record and token stands in the change log."""
    changes = await world.changes(base)
    return Counter((c["operation_id"], c["record_id"], c["token_id"]) for c in changes)


async def transactions(world: World, base: Base) -> int:
    """How many transactions wrote what the change log has."""
    async with world.databases.own("data") as conn:
        sql = "select count(distinct xid) from platform.changes where base_id = $1"
        return int(await conn.fetchval(sql, base.id))


async def test_new_records_are_answered_and_kept_as_if_each_came_alone(
    world: World, client: Client, groups: list[int]
) -> None:
    """Half of them with keys; the same calls one after the other are answered the same."""
    said: list[list[tuple[Any, ...]]] = []
    for at_once in (True, False):
        base = await world.tenant()
        await base.add_table("Tasks")
        token = await base.token()
        http = client(token)
        named = [{"headers": key(f"{n}")} if n % 2 else {} for n in range(40)]
        calls: list[Sent] = [
            ("POST", base.path(), {"json": {"fields": values(n)}} | more) for n, more in enumerate(named)
        ]
        if at_once:
            assert (await http.get(base.path())).status_code == 200
            answers = await burst(http, calls)
            assert max(groups) > 10
            assert await transactions(world, base) < 20
        else:
            answers = [(await burst(http, [call]))[0] for call in calls]
            assert await transactions(world, base) == 40
        said.append([told(a)[:2] + told(a)[3:] for a in answers])
        assert [a.status_code for a in answers] == [201] * 40
        assert [a.headers["location"].rpartition("/")[2] for a in answers] == [
            a.json()["id"] for a in answers
        ]
        operations = [(a.headers["x-request-id"], a.json()["id"], token.id) for a in answers]
        assert await in_changes(world, base) == Counter(operations)
        async with world.databases.own("data") as conn:
            kept = await conn.fetch(
                "select key, operation_id, status from platform.idempotency where token_id = $1",
                token.id,
            )
        assert {(row["key"], row["operation_id"], row["status"]) for row in kept} == {
            (f"{n}", operations[n][0], 201) for n in range(1, 40, 2)
        }
        listed = {r["id"]: r for r in (await http.get(base.path())).json()["records"]}
        assert listed == {a.json()["id"]: a.json() for a in answers}
    assert said[0] == said[1]


@pytest.mark.parametrize("with_keys", [False, True], ids=["without keys", "with keys"])
async def test_changes_are_answered_as_alone_and_keys_answer_them_again(
    base: Base, editor: httpx.AsyncClient, world: World, groups: list[int], with_keys: bool
) -> None:
    """PATCH, PUT and DELETE, each for records of its own: first by itself, then all at once."""
    records = await made(editor, base, 80, Count=1)
    before = await transactions(world, base)
    wrote: dict[str, str] = {}
    for method, body in (
        ("PATCH", {"Count": 2, "Note": "a, \n b"}),
        ("PUT", {"Name": "n", "Data": {"a": ["\n"]}}),
        ("PATCH", {"Name": "n"}),  # nothing to change
        ("DELETE", None),
    ):
        more = {} if body is None else {"json": {"fields": body}}
        paths = [f"{base.path()}/{record_id}" for record_id in records]
        version = (await editor.get(paths[0])).headers["etag"]
        calls: list[Sent] = [
            (
                method,
                path,
                more | {"headers": (key() if with_keys else {}) | ({"If-Match": version} if n % 2 else {})},
            )
            for n, path in enumerate(paths)
        ]
        alone = [(await burst(editor, [call]))[0] for call in calls[:2]]
        groups.clear()
        answers = await burst(editor, calls[2:])
        assert max(groups) > 10
        assert [told(a) for a in answers] == [told(alone[n % 2]) for n in range(78)]
        if body != {"Name": "n"}:
            wrote |= {a.headers["x-request-id"]: a.json()["id"] for a in (*alone, *answers)}
        assert [a.json()["id"] for a in answers] == records[2:]
        if with_keys:
            again = await burst(editor, calls[2:])
            assert {a.headers["idempotency-hit"] for a in again} == {"true"}
            assert [(a.status_code, a.json(), a.headers.get("etag")) for a in again] == [
                (a.status_code, a.json(), a.headers.get("etag")) for a in answers
            ]
    assert Counter(c["action"] for c in await world.changes(base)) == {
        "create": 80,
        "update": 160,
        "delete": 80,
    }
    assert await transactions(world, base) - before < 120
    logged = {c["operation_id"]: c["record_id"] for c in await world.changes(base) if c["action"] != "create"}
    assert logged == wrote


async def test_what_is_refused_refuses_nobody_else(world: World, client: Client, groups: list[int]) -> None:
    base = await world.tenant()
    fields = [
        {"name": "Name", "type": "text", "required": True},
        {"name": "Code", "type": "text", "unique": True},
        {"name": "Next", "type": "link", "options": {"table": "Tasks", "inverse": "Before"}},
    ]
    await want(base, [{"name": "Tasks", "fields": fields}])
    http, path = client(await base.token()), base.path()

    def one(method: str, url: str, fields: dict[str, Any], **headers: str) -> Sent:
        return method, url, {"json": {"fields": fields}, "headers": headers}

    rows = [{"fields": {"Name": "n", "Code": f"{n}"}} for n in range(30)]
    there = [r["id"] for r in (await http.post(path, json={"records": rows})).json()["records"]]
    at = [f"{path}/{record_id}" for record_id in there]
    (used,) = await burst(http, [one("POST", path, {"Name": "k"}, **key("used"))])
    creates = [
        *((one("POST", path, {"Name": f"{n}", "Next": [there[n]]}, **key()), (201, None)) for n in range(8)),
        (one("POST", path, {"Name": "a", "Code": "3"}), (409, "duplicate_value")),
        (one("POST", path, {"Name": "a", "Next": [ids.new()]}), (422, "invalid")),
        (one("POST", path, {"Name": "k"}, **key("used")), (201, None)),
        (one("POST", path, {"Name": "l"}, **key("used")), (422, "idempotency_mismatch")),
        *((one("POST", path, {"Name": f"{n}"}), (201, None)) for n in range(8)),
    ]
    changes = [
        *((one("PATCH", url, {"Code": f"new {n}"}), (200, None)) for n, url in enumerate(at[:8])),
        (one("PATCH", at[8], {"Code": "20"}), (409, "duplicate_value")),
        (one("PATCH", at[9], {"Code": "x"}, **{"If-Match": '"v2"'}), (412, "precondition_failed")),
        (one("PATCH", at[10], {"Code": "y"}, **{"If-Match": '"v7", "v1"'}), (200, None)),
        (one("PATCH", at[11], {"Code": "z"}, **{"If-Match": '"v1"'}), (200, None)),
        (one("PATCH", f"{path}/{ids.new()}", {"Code": "m"}), (404, "not_found")),
        (one("PATCH", at[12], {"Code": "12"}), (200, None)),
        *((one("PATCH", url, {"Code": f"late {n}"}), (200, None)) for n, url in enumerate(at[13:20])),
    ]
    for calls in (creates, changes):
        groups.clear()
        answers = await burst(http, [call for call, _ in calls])
        assert max(groups) > 10
        said = [(a.status_code, a.json().get("code") if a.is_error else None) for a in answers]
        wanted = [expected for _, expected in calls]
        # The two that share a key may also meet each other.
        assert [s for s in said if s[1] != "idempotency_in_flight"] == [
            w for s, w in zip(said, wanted, strict=True) if s[1] != "idempotency_in_flight"
        ]
        assert sum(s[1] == "idempotency_in_flight" for s in said) <= 1
        for answer, expected in zip(answers, wanted, strict=True):
            if answer.is_success and expected[1] is None and "idempotency-hit" not in answer.headers:
                read = await http.get(f"{path}/{answer.json()['id']}")
                assert (read.json(), read.headers["etag"]) == (answer.json(), answer.headers["etag"])
    listed = (await http.get(path, params={"limit": 1000})).json()["records"]
    assert len(listed) == 30 + 1 + 16
    assert [r["version"] for r in listed if r["id"] in there[:21]] == [2] * 8 + [1, 1, 2, 2, 1] + [2] * 7 + [
        1
    ]
    assert [r["id"] for r in listed if r["fields"]["Name"] == "k"] == [used.json()["id"]]


async def test_changes_of_one_record_follow_each_other(
    base: Base, editor: httpx.AsyncClient, world: World, groups: list[int]
) -> None:
    one, *others = await made(editor, base, 31)
    hot: list[Sent] = [
        ("PATCH", f"{base.path()}/{one}", {"json": {"fields": {"Count": n}}}) for n in range(30)
    ]
    cold: list[Sent] = [("PATCH", f"{base.path()}/{r}", {"json": {"fields": {"Count": 1}}}) for r in others]
    answers = await burst(editor, [call for pair in zip(hot, cold, strict=True) for call in pair])
    assert max(groups) > 10
    assert sorted(a.json()["version"] for a in answers[::2]) == list(range(2, 32))
    assert [a.json()["version"] for a in answers[1::2]] == [2] * 30
    assert [a.headers["etag"] for a in answers] == [f'"v{a.json()["version"]}"' for a in answers]
    logged = {(c["version"], c["operation_id"]) for c in await world.changes(base) if c["record_id"] == one}
    assert {(a.json()["version"], a.headers["x-request-id"]) for a in answers[::2]} < logged
    last = (await editor.get(f"{base.path()}/{one}")).json()
    assert last in [a.json() for a in answers[::2]]
    # Of many who know the same version one wins.
    racers: list[Sent] = [(m, u, more | {"headers": {"If-Match": '"v31"'}}) for m, u, more in hot]
    said = Counter(a.status_code for a in await burst(editor, racers))
    assert said == {200: 1, 412: 29} or (said[200] == 2 and last["fields"]["Count"] < 30)


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_a_record_that_is_held_keeps_nobody_else_waiting(
    base: Base, editor: httpx.AsyncClient, world: World, groups: list[int], method: str
) -> None:
    records = await made(editor, base, 41)
    held = records[20]
    more: dict[str, Any] = {} if method == "DELETE" else {"json": {"fields": {"Name": "new"}}}
    tasks = {}
    async with world.databases.administer("data") as conn:
        async with conn.transaction():
            table = names.table(base.tenant_id, base.tables["Tasks"].id)
            await conn.execute(f"select from {table} where id = $1 for update", held)
            for record_id in records:
                url = f"{base.path()}/{record_id}"
                tasks[record_id] = asyncio.create_task(editor.request(method, url, **more))
            others = await asyncio.gather(*(task for record_id, task in tasks.items() if record_id != held))
            assert {answer.status_code for answer in others} == {200}
            assert max(groups) > 10
            # Nobody was given up on first: what waited until it was refused would have gone alone afterwards.
            assert await transactions(world, base) < 10
            assert not tasks[held].done()
        mine = await tasks[held]
    assert (mine.status_code, mine.json()["version"]) == (200, 2)
    action = "delete" if method == "DELETE" else "update"
    logged = [c["record_id"] for c in await world.changes(base) if c["action"] == action]
    assert sorted(logged) == records


async def test_a_value_that_another_is_about_to_take_keeps_nobody_else_waiting(
    base: Base, editor: httpx.AsyncClient, world: World, groups: list[int]
) -> None:
    """A unique value can only be waited for; however many wait for it, those with other values do not."""
    table = base.tables["Tasks"]
    name, mail = (
        next(names.column(field.id) for field in table.fields if field.name == which)
        for which in ("Name", "Mail")
    )

    def created(n: int) -> Sent:
        return (
            "POST",
            base.path(),
            {"json": {"fields": {"Name": "x", "Mail": "held@b.co" if n % 8 == 3 else f"{n}@b.co"}}},
        )

    async with world.databases.administer("data") as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("set local session_replication_role = replica")
        await conn.execute(
            f"insert into {names.table(base.tenant_id, table.id)} (id, created_by, updated_by, {name}, {mail})"
            " values ($1, 'x', 'x', 'x', 'held@b.co')",
            ids.new(),
        )
        tasks = [asyncio.create_task(burst(editor, [created(n)])) for n in range(64)]
        async with asyncio.timeout(6):  # sooner than a statement is given up
            free = await asyncio.gather(*(task for n, task in enumerate(tasks) if n % 8 != 3))
        assert {a.status_code for (a,) in free} == {201}
        assert max(groups) > 10
        held = [task for n, task in enumerate(tasks) if n % 8 == 3]
        assert not any(task.done() for task in held)
        # Who comes later does not wait either.
        for n in range(100, 103):
            assert (await burst(editor, [created(8 * n)]))[0].status_code == 201
        assert not any(task.done() for task in held)
        await transaction.rollback()
    assert Counter(a.status_code for (a,) in await asyncio.gather(*held)) == {201: 1, 409: 7}


async def test_large_records_go_alone(base: Base, editor: httpx.AsyncClient, groups: list[int]) -> None:
    large, small = await made(editor, base, 12, Note="x" * 60_000), await made(editor, base, 12)

    async def get(records: list[str]) -> None:
        groups.clear()
        answers = await burst(editor, [("GET", f"{base.path()}/{one}", {}) for one in records])
        assert [a.json()["id"] for a in answers] == records

    await get(large)
    await get(large)
    assert not groups
    # They are forgotten when nobody asked for one for a while.
    await get(small)
    await get(small)
    assert max(groups) > 5


async def test_two_who_wait_for_each_other_are_both_done(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """PostgreSQL gives one of them up; what it rolled back is done afterwards, and nobody is told."""
    one, other = await made(editor, base, 2)
    table = names.table(base.tenant_id, base.tables["Tasks"].id)
    rows = [{"id": each, "fields": {"Name": "new"}} for each in (one, other)]
    async with world.databases.administer("data") as conn, conn.transaction():
        await conn.execute("set local deadlock_timeout = '1min'")
        await conn.execute(f"select from {table} where id = $1 for update", other)
        task = asyncio.create_task(editor.patch(base.path(), json={"records": rows}))
        waits = "select exists (select from pg_locks where pg_blocking_pids(pid) = array[pg_backend_pid()])"
        while not await conn.fetchval(waits):  # noqa: ASYNC110  (another process is waited for)
            await asyncio.sleep(0.01)
        await conn.execute(f"select from {table} where id = $1 for update", one)
    answer = await task
    assert (answer.status_code, [r["version"] for r in answer.json()["records"]]) == (200, [2, 2])
