"""Streams: a whole table in lines, whatever happens on the way, and a last line that tells how it ended."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.data import streams
from api.data.app import DataApi
from core import ids
from core.schema.ops.add_field import AddField
from core.schema.ops.drop_field import DropField
from core.schema.ops.rename_field import RenameField
from core.schema.spec import FieldSpec
from db.data import names
from db.data.ddl import DDL
from db.data.ddl.base import Target
from planebase.ports import free_port
from tests.api.data.conftest import Client, settings_of
from tests.api.data.reader import NDJSON, Reader, reading
from tests.api.data.test_views import add_view
from tests.api.data.world import Base, Token, World
from tests.conftest import Databases, own_databases

ROOT = Path(__file__).parent.parent.parent.parent
LINES = {"Accept": NDJSON}
AWKWARD = ["], \n [", "\n", "\r\n", '"], \n ["', "\\n", "\u2028", "[{}]", "", "é日\x7f", '{"id":1}']
FIELDS = [
    {"name": "Name", "type": "text"},
    {"name": "Count", "type": "integer"},
    {"name": "Note", "type": "long_text"},
    {"name": "Data", "type": "json"},
    {"name": "Due", "type": "date"},
]


async def filled(base: Base, count: int, chars: int = 10) -> None:
    """Records straight into the table, as fast as PostgreSQL makes them."""
    spec = base.tables["Tasks"]
    by_name = {field.name: names.column(field.key) for field in spec.fields}
    columns = ", ".join(by_name[name] for name in ("Name", "Count", "Note"))
    async with base.world.databases.administer("data") as conn:
        await conn.execute("set session_replication_role = replica")
        await conn.execute(
            f"insert into {names.table(base.tenant_id, spec.key)} (id, {columns})"
            " select '7' || lpad(to_hex(n), 25, '0'), 'n' || n, n % 7, repeat('x', $2)"
            " from generate_series(1, $1) n",
            count,
            chars,
        )


@pytest.fixture
async def base(world: World) -> Base:
    """A new tenant's base with a table."""
    made = await world.tenant()
    await made.add_table("Tasks", FIELDS)
    return made


@pytest.fixture
async def token(base: Base) -> Token:
    """One that may read and write it."""
    return await base.token()


@pytest.fixture
def in_sevens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of seven records."""
    monkeypatch.setattr(streams, "STREAM_RECORDS", 7)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what comes from elsewhere, within a bound."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110  (there is no event for it)
            await asyncio.sleep(0.01)


async def apply(base: Base, op: Any) -> None:
    await base.apply(DDL[op.kind].up(op, Target(base.tenant_id, base.workspace_id, base.id, 1, 1)))


def on(base: Base, name: str) -> dict[str, Any]:
    table = base.tables["Tasks"]
    (field,) = (field for field in table.fields if field.name == name)
    return {"pointer": "", "table_id": table.key, "table": table.name, "field_id": field.key, "field": name}


async def resumed(http: httpx.AsyncClient, path: str, last: dict[str, Any], **params: Any) -> list[Any]:
    """What a stream brings that goes on where another ended."""
    answer = await http.get(path, params=params | {"cursor": last["next_cursor"]}, headers=LINES)
    assert answer.status_code == 200, answer.text
    *records, end = [json.loads(line) for line in answer.text.splitlines()]
    assert end == {"end": True, "count": len(records)}
    return records


async def test_a_stream_has_every_record_as_a_list_has_it(
    base: Base, token: Token, client: Client, in_sevens: None
) -> None:
    http = client(token)
    rng = random.Random(3)
    rows = [
        {
            "Name": rng.choice([*AWKWARD, None]),
            "Count": rng.choice([0, 1, 2, None]),
            "Note": rng.choice(AWKWARD),
            "Data": rng.choice([[], [[]], {"a": AWKWARD}, AWKWARD, "], \n [", None]),
            "Due": rng.choice(["2024-01-01", "2024-01-02", None]),
        }
        for _ in range(100)
    ]
    made = await http.post(base.path(), json={"records": [{"fields": row} for row in rows]})
    assert made.status_code == 201, made.text
    await add_view(
        base, "Some", {"filter": "Count.is.not_null", "sort": "-Due,Count", "fields": ["Data", "Due"]}
    )
    for params in (
        {},
        {"sort": "-Name,Count"},
        {"sort": "Due"},
        {"sort": "-created_at"},
        {"sort": "-Due,-id", "filter": "or(Count.eq.1,Name.is.null)", "fields": "Name"},
        {"fields": "Data,Note"},
        {"view": "Some"},
        {"view": "Some", "filter": "Count.gt.0", "fields": "Name"},
        {"filter": "Name.eq.nobody"},
    ):
        plain = await http.get(base.path(), params=params | {"limit": 1000})
        assert plain.headers["content-type"] == "application/json"
        answer = await http.get(base.path(), params=params, headers=LINES)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == NDJSON
        assert answer.headers["x-request-id"]
        raw = answer.content.split(b"\n")
        assert raw.pop() == b""
        *records, end = map(json.loads, raw)
        assert records == plain.json()["records"]
        assert end == {"end": True, "count": len(records)}
        assert (len(records) > 7) == ("nobody" not in params.get("filter", ""))


@pytest.mark.parametrize("sort", ["id", "-created_at", "Due", "Name", "-Count,Name"])
async def test_pages_of_full_size_lose_nothing(base: Base, token: Token, client: Client, sort: str) -> None:
    await filled(base, 2_345)
    answer = await client(token).get(base.path(), params={"sort": sort, "fields": "Count"}, headers=LINES)
    *records, end = map(json.loads, answer.content.splitlines())
    assert end == {"end": True, "count": 2_345}
    assert len({record["id"] for record in records}) == 2_345


async def test_a_page_of_large_records_ends_before_it_grows_too_large(
    base: Base, token: Token, app: DataApi
) -> None:
    await filled(base, 45, chars=100_000)
    async with reading(app, base.path(), token.secret) as reader:
        await reader.rest()
        assert reader.last == {"end": True, "count": 45}
        assert len({record["id"] for record in reader.records}) == 45


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        (NDJSON, True),
        ("Application/X-NDJSON", True),
        (f"application/json;q=0.1, {NDJSON};q=0.5", True),
        (f"{NDJSON};q=0, */*", False),
        (f"{NDJSON}; q=0.000", False),
        ("*/*", False),
        ("application/json", False),
        ("application/x-ndjsonx", False),
        ("xapplication/x-ndjson", False),
        ("", False),
    ],
)
async def test_lines_are_for_who_asks_for_them(
    base: Base, token: Token, client: Client, accept: str, is_stream: bool
) -> None:
    answer = await client(token).get(base.path(), headers={"Accept": accept})
    assert answer.headers["content-type"] == (NDJSON if is_stream else "application/json")


async def test_what_cannot_be_streamed_is_refused_before_it_begins(
    base: Base, token: Token, client: Client, world: World
) -> None:
    http = client(token)
    writer = client(await base.token("records:write"))
    stranger = client(await (await world.tenant()).token())
    cursor = (await http.get(base.path(), params={"limit": 1, "sort": "Name"})).json()["next_cursor"]
    assert cursor is None
    for caller, params, status in (
        (http, {"limit": "3"}, 400),
        (http, {"count": "exact"}, 400),
        (http, {"explain": "true"}, 400),
        (http, {"as_of": "2024-01-01T00:00:00Z"}, 400),
        (http, {"sort": "Nmae"}, 400),
        (http, {"filter": "Count.eq.x"}, 400),
        (http, {"view": "None"}, 404),
        (http, {"cursor": "x"}, 410),
        (writer, {}, 403),
        (stranger, {}, 404),
    ):
        answer = await caller.get(base.path(), params=params, headers=LINES)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    nobody = await http.get(base.path(), headers=LINES | {"Authorization": "Bearer x"})
    assert nobody.status_code == 401
    elsewhere = await http.get(base.path().replace(base.tables["Tasks"].key, ids.new()), headers=LINES)
    assert elsewhere.status_code == 404


async def test_a_cursor_goes_from_a_list_to_a_stream_and_back(
    base: Base, token: Token, client: Client, app: DataApi, in_sevens: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(base, 30)
    http = client(token)
    whole = (await http.get(base.path(), params={"sort": "-Count"})).json()["records"]
    page = (await http.get(base.path(), params={"sort": "-Count", "limit": 5})).json()
    assert page["records"] + await resumed(http, base.path(), page, sort="-Count") == whole
    monkeypatch.setattr(streams, "MAX_S", -1.0)
    async with reading(app, base.path(), token.secret, sort="-Count") as reader:
        await reader.rest()
    assert len(reader.records) == 7
    assert (reader.last["problem"]["status"], reader.last["problem"]["code"]) == (503, "stream_too_long")
    after = {"sort": "-Count", "cursor": reader.last["next_cursor"]}
    assert reader.records + (await http.get(base.path(), params=after)).json()["records"] == whole
    # A stream that ends again and again is whole in the end.
    met, cursor = list(reader.records), reader.last["next_cursor"]
    while True:
        async with reading(app, base.path(), token.secret, sort="-Count", cursor=cursor) as part:
            await part.rest()
        met += part.records
        if "end" in part.last:
            break
        cursor = part.last["next_cursor"]
    assert met == whole


async def test_a_token_that_is_revoked_ends_its_stream(
    base: Base, token: Token, client: Client, app: DataApi, world: World, in_sevens: None
) -> None:
    await filled(base, 40)
    other = client(await base.token())
    async with reading(app, base.path(), token.secret) as reader:
        await reader.take_records(7)
        await world.control("update control.api_tokens set revoked_at = now() where id = $1", token.id)
        await _refused(app, base, token)
        await reader.rest()
    assert (reader.status, reader.last["problem"]["status"]) == (200, 401)
    assert reader.last["problem"]["code"] == "unauthenticated"
    assert reader.last["problem"]["request_id"] == reader.headers["x-request-id"]
    assert 7 <= len(reader.records) <= 14
    whole = (await other.get(base.path(), params={"limit": 1000})).json()["records"]
    assert reader.records + await resumed(other, base.path(), reader.last) == whole
    # Whose stream it was is in the access log all the same, with its bytes.
    row = await _access_record(world, reader.headers["x-request-id"])
    assert (row["tenant_id"], row["token_id"], row["base_id"]) == (base.tenant_id, token.id, base.id)
    assert (row["status"], row["bytes"]) == (200, len(reader.body))


async def _refused(app: DataApi, base: Base, token: Token) -> None:
    """Wait until the token is refused elsewhere."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://data", headers=token.headers) as http:
        await _answers(http, base, 401)


async def _answers(http: httpx.AsyncClient, base: Base, status: int) -> None:
    async def is_so() -> bool:
        return (await http.get(base.path(), params={"limit": 1})).status_code == status

    await until(is_so)


async def _access_record(world: World, request_id: str) -> dict[str, Any]:
    async with world.databases.own("activity") as conn, asyncio.timeout(5):
        while True:
            row = await conn.fetchrow("select * from activity.api_access_logs where id = $1", request_id)
            if row is not None:
                return dict(row)
            await asyncio.sleep(0.05)


async def test_the_access_log_has_the_bytes_of_a_whole_stream(
    base: Base, token: Token, app: DataApi, world: World
) -> None:
    await filled(base, 1_500)
    async with reading(app, base.path(), token.secret) as reader:
        await reader.rest()
    row = await _access_record(world, reader.headers["x-request-id"])
    assert (row["status"], row["bytes"], row["method"]) == (200, len(reader.body), "GET")
    assert row["route"] == "/bases/{base_id}/tables/{table_id}/records"


async def test_a_dropped_field_ends_the_stream_and_the_rest_can_be_had_without_it(
    base: Base, token: Token, client: Client, app: DataApi, in_sevens: None
) -> None:
    await filled(base, 40)
    async with reading(app, base.path(), token.secret, sort="Name") as reader:
        await reader.take_records(7)
        await apply(base, DropField(**on(base, "Count")))
        await reader.rest()
    assert (reader.last["problem"]["status"], reader.last["problem"]["code"]) == (409, "schema_changed")
    assert "'Count'" in reader.last["problem"]["detail"]
    rest = await resumed(client(token), base.path(), reader.last, sort="Name")
    whole = (await client(token).get(base.path(), params={"sort": "Name"})).json()["records"]
    assert [r["id"] for r in reader.records + rest] == [r["id"] for r in whole]
    assert "Count" in reader.records[0]["fields"]
    assert "Count" not in rest[0]["fields"]


@pytest.mark.parametrize(
    "params", [{"sort": "Count", "fields": "Name"}, {"filter": "Count.lt.9", "fields": "Name"}]
)
async def test_a_stream_whose_order_or_filter_went_cannot_go_on(
    base: Base, token: Token, app: DataApi, in_sevens: None, params: dict[str, str]
) -> None:
    await filled(base, 40)
    async with reading(app, base.path(), token.secret, **params) as reader:
        await reader.take_records(7)
        await apply(base, DropField(**on(base, "Count")))
        await reader.rest()
    assert reader.last["problem"]["code"] == "schema_changed"
    assert reader.last["next_cursor"] is None


async def test_the_fields_are_those_of_the_first_page(
    base: Base, token: Token, app: DataApi, in_sevens: None
) -> None:
    """A field comes, one is renamed, another table changes, one that is not read goes, the tenant moves on."""
    await filled(base, 60)
    params = {"fields": "Name,Count", "sort": "-Count", "filter": "Count.gte.0"}
    async with reading(app, base.path(), token.secret, **params) as reader:
        await reader.take_records(7)
        table = base.tables["Tasks"]
        field = FieldSpec(id=ids.new(), name="New", type="integer")
        await apply(base, AddField(pointer="", table_id=table.key, table=table.name, field=field))
        await reader.take_records(14)
        await apply(base, RenameField(**on(base, "Count"), new_name="Number"))
        await reader.take_records(21)
        await base.add_table("Others", FIELDS)
        await reader.take_records(28)
        await apply(base, DropField(**on(base, "Note")))
        await reader.take_records(35)
        for sql, database in (
            ("update platform.fences set generation = generation + 1 where tenant_id = $1", "data"),
            ("update gateway.placements set generation = generation + 1 where tenant_id = $1", "control"),
        ):
            async with base.world.databases.own(database) as conn:
                await conn.execute(sql, base.tenant_id)
        await reader.rest()
    assert reader.last == {"end": True, "count": 60}
    assert {tuple(record["fields"]) for record in reader.records} == {("Name", "Count")}
    assert len({record["id"] for record in reader.records}) == 60


async def test_a_new_field_is_not_shown_where_all_are_asked_for(
    base: Base, token: Token, app: DataApi, in_sevens: None
) -> None:
    await filled(base, 30)
    async with reading(app, base.path(), token.secret) as reader:
        await reader.take_records(7)
        table = base.tables["Tasks"]
        field = FieldSpec(id=ids.new(), name="New", type="integer")
        await apply(base, AddField(pointer="", table_id=table.key, table=table.name, field=field))
        await reader.rest()
    assert reader.last == {"end": True, "count": 30}
    assert {tuple(record["fields"]) for record in reader.records} == {tuple(f["name"] for f in FIELDS)}


async def test_a_stream_meets_each_record_once_while_others_come_and_go(
    base: Base, token: Token, client: Client, app: DataApi, in_sevens: None
) -> None:
    await filled(base, 70)
    http = client(token)
    async with reading(app, base.path(), token.secret, sort="-Count,Name") as reader:
        for turn in range(1, 10):
            await reader.take_records(7 * turn)
            row = {"fields": {"Name": f"n{turn}", "Count": turn % 7}}
            assert (await http.post(base.path(), json=row)).status_code == 201
            seen = reader.records[turn]["id"]
            assert (await http.delete(f"{base.path()}/{seen}")).status_code == 200
        await reader.rest()
    met = [record["id"] for record in reader.records]
    assert reader.last == {"end": True, "count": len(met)}
    assert len(set(met)) == len(met)
    assert {f"7{n:025x}" for n in range(1, 71)} <= set(met)


async def test_a_client_that_goes_away_stops_the_work(
    base: Base, token: Token, app: DataApi, in_sevens: None
) -> None:
    await filled(base, 700)
    reader = Reader(app, base.path(), token.secret, {})
    task = asyncio.create_task(reader.serve())
    await reader.take_records(7)
    reader.leave()
    async with asyncio.timeout(5):
        while not task.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.take()
    await task
    assert not reader.is_whole
    assert len(reader.records) <= 21
    assert app.state.parts.streams.has_room(base.tenant_id)


async def test_who_takes_nothing_for_too_long_is_let_go(
    base: Base, token: Token, app: DataApi, in_sevens: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(base, 40)
    monkeypatch.setattr(streams, "PATIENCE_S", 0.05)
    reader = Reader(app, base.path(), token.secret, {})
    task = asyncio.create_task(reader.serve())
    await reader.take()
    await asyncio.wait_for(task, 5)
    assert not reader.is_whole


async def test_a_tenant_has_so_many_streams_and_another_has_its_own(
    base: Base, token: Token, client: Client, app: DataApi, world: World, in_sevens: None
) -> None:
    await filled(base, 20)
    other = await world.tenant()
    await other.add_table("Tasks", FIELDS)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(16):
            reader = await stack.enter_async_context(reading(app, base.path(), token.secret))
            await reader.take()
            assert reader.status == 200
        answer = await client(token).get(base.path(), headers=LINES)
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await client(token).get(base.path())).status_code == 200
        assert (await client(await other.token()).get(other.path(), headers=LINES)).status_code == 200
    assert (await client(token).get(base.path(), headers=LINES)).status_code == 200


async def test_a_process_that_ends_lets_its_streams_go_on_elsewhere(
    base: Base, token: Token, client: Client, databases: Databases, in_sevens: None
) -> None:
    await filled(base, 40)
    app = DataApi(settings_of(databases))
    async with app.router.lifespan_context(app), reading(app, base.path(), token.secret) as reader:
        await reader.take_records(7)
        app.watches.drain()
        await reader.rest()
    assert (reader.last["problem"]["status"], reader.last["problem"]["code"]) == (503, "draining")
    whole = (await client(token).get(base.path())).json()["records"]
    assert reader.records + await resumed(client(token), base.path(), reader.last) == whole


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Databases of this module's own."""
    yield from own_databases(tmp_path_factory)


async def test_postgres_killed_on_the_way_ends_a_stream_that_goes_on_when_it_is_back(
    killable: Databases, in_sevens: None
) -> None:
    world = World(killable)
    base = await world.tenant()
    await base.add_table("Tasks", FIELDS)
    await filled(base, 60)
    token = await base.token()
    app = DataApi(settings_of(killable))
    async with app.router.lifespan_context(app), reading(app, base.path(), token.secret) as reader:
        await reader.take_records(14)
        async with killable.administer("data") as conn:
            pid = await conn.fetchval(
                "select pid from pg_stat_activity where application_name = 'planebase-data-api'"
                " and datname = 'data'"
            )
        # The death of one backend makes the server throw all of them out and recover.
        os.kill(pid, signal.SIGKILL)
        await until(partial(_is_gone, pid))
        await reader.rest()
        assert (reader.last["problem"]["status"], reader.last["problem"]["code"]) == (503, "unavailable")
        assert 14 <= len(reader.records) <= 21
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://data", headers=token.headers
        ) as http:
            await _answers(http, base, 200)
            whole = (await http.get(base.path(), params={"limit": 1000})).json()["records"]
            assert reader.records + await resumed(http, base.path(), reader.last) == whole


async def _is_gone(pid: int) -> bool:
    return not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextlib.asynccontextmanager
async def process(databases: Databases, **more: str) -> AsyncIterator[tuple[str, int]]:
    """The Data API as it is served, in a process of its own; yields its address and id."""
    port = free_port()
    settings = {
        "CONTROL_DSN": databases.dsn("data_api", "control"),
        "ACTIVITY_DSN": databases.dsn("data_api", "activity"),
        "DATA_PASSWORD": databases.passwords["data_api"],
        "CURSOR_SECRET": "a secret of the tests",
        "DATA_PORT": str(port),
    } | more
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api.data", cwd=ROOT,
        env={**os.environ, **{f"PLANEBASE_{name}": value for name, value in settings.items()}},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get("/healthz")).json()["control_db"] == "heard":
                        break
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.terminate()
        await asyncio.wait_for(server.wait(), 30)


def _rss(pid: int) -> int:
    (line,) = (
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1_024


async def test_a_slow_reader_costs_a_page_of_memory_and_no_connection(
    databases: Databases, base: Base, token: Token
) -> None:
    """Forty megabytes through one connection, which serves others while the reader waits."""
    await filled(base, 20_000, chars=2_000)
    slow = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)])
    async with (
        process(databases, POOL_MAX_SIZE="1") as (url, pid),
        httpx.AsyncClient(base_url=url, headers=token.headers, transport=slow, timeout=30) as reader,
        httpx.AsyncClient(base_url=url, headers=token.headers, timeout=5) as other,
    ):
        # Once at full speed, so that all that is ever loaded is there.
        assert (await reader.get(base.path(), headers=LINES)).text.endswith('{"end":true,"count":20000}\n')
        before, highest, size, lines, pauses = _rss(pid), 0, 0, 0, 0
        tail = b""
        async with reader.stream("GET", base.path(), headers=LINES) as answer:
            async for piece in answer.aiter_raw():
                size += len(piece)
                lines += piece.count(b"\n")
                tail = (tail + piece)[-100:]
                highest = max(highest, _rss(pid))
                if size > (pauses + 1) * 4_000_000:
                    pauses += 1
                    found = await other.get(base.path(), params={"limit": 1, "fields": "Name"})
                    assert found.status_code == 200
                    # What the network holds is filled up first; then nothing is done for this reader.
                    await until(partial(_is_idle, databases))
        assert tail.endswith(b'\n{"end":true,"count":20000}\n')
        assert lines == 20_001
        assert size > 40_000_000
        assert pauses >= 9
        assert highest - before < 8_000_000


async def _is_idle(databases: Databases) -> bool:
    """Whether the newest connection of the Data API does nothing, looked at five times; the tests' app is older."""
    found = []
    async with databases.administer("data") as conn:
        for _ in range(5):
            found.append(
                await conn.fetchval(
                    "select state from pg_stat_activity where application_name = 'planebase-data-api'"
                    " and datname = 'data' order by backend_start desc limit 1"
                )
            )
            await asyncio.sleep(0.005)
    return found == ["idle"] * 5
