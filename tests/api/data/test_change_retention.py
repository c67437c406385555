"""What callers see when months of the change log are really gone: no surprise, and all that was promised."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.data.app import DataApi
from core import ids
from tests import months, seeds
from tests.api.data.conftest import Client, settings_of
from tests.api.data.test_feed import all_after, feed_of, read
from tests.api.data.world import Base, World
from tests.conftest import Databases, own_databases

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Databases of our own: what others have logged and never relayed would keep its months."""
    yield from own_databases(tmp_path_factory)


@pytest.fixture(scope="module")
def world(databases: Databases) -> World:
    """These databases, and how to people them."""
    return World(databases)


@pytest.fixture(scope="module")
async def app(databases: Databases) -> AsyncIterator[DataApi]:
    """A Data API on them."""
    app = DataApi(settings_of(databases))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def client(app: DataApi) -> Client:
    """Makes clients that carry a token."""
    return lambda token: httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://data", headers=token.headers
    )


@pytest.fixture(autouse=True)
async def log(databases: Databases) -> None:
    """A log that is kept for 90 days, of nine months and without a change."""
    async with databases.own("data") as conn:
        await conn.execute("delete from platform.changes; delete from platform.idempotency")
        await conn.execute("update platform.identity set changes_kept_days = 90, changes_since = '-infinity'")
        await months.make(conn, *range(1, 9))


async def made(base: Base, editor: httpx.AsyncClient, **fields: object) -> str:
    """Create a record; returns where it is."""
    answer = await editor.post(base.path(), json={"fields": {"Name": "a"} | fields})
    return str(answer.headers["location"])


async def move_back(world: World, where: str, version: int, ago: int) -> datetime:
    """Let a version of a record be of that month; returns of when."""
    at = months.last_hour(ago)
    async with world.databases.administer("data") as conn:
        await conn.execute(
            "update platform.changes set changed_at = $3 where record_id = $1 and version = $2",
            where.rpartition("/")[2], version, at,
        )  # fmt: skip
    return at


async def let_go(world: World, *ago: int, kept_days: int | None = None) -> list[str]:
    """Carry what there is and drop months as the upkeep does, as much as those days ask for."""
    async with world.databases.own("data") as conn:
        await months.relayed(conn)
        if kept_days is not None:
            await months.keep(conn, kept_days)
    return [await months.drop(world.databases, each) for each in ago]


async def test_a_history_tells_what_is_left_and_that_it_is_not_all(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    changed, untouched, gone = [await made(base, editor, Count=1) for _ in range(3)]
    await editor.patch(changed, json={"fields": {"Count": 2}})
    await editor.delete(gone)
    for where in (changed, untouched, gone):
        await move_back(world, where, 1, 8)
    await move_back(world, gone, 2, 7)
    assert (await editor.post(f"{gone}/restore")).json()["code"] == "trash_expired"
    assert await let_go(world, 8, 7) == ["dropped"] * 2
    one = (await editor.get(f"{changed}/history")).json()
    assert ([c["version"] for c in one["changes"]], one["complete"]) == ([2], False)
    assert one["changes"][0]["before"]["Count"] == 1
    none = (await editor.get(f"{untouched}/history")).json()
    assert (none["changes"], none["complete"]) == ([], False)
    for answer in (await editor.get(f"{gone}/history"), await editor.post(f"{gone}/restore")):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    stale = await editor.patch(changed, json={"fields": {"Count": 3}}, headers={"If-Match": '"v1"'})
    assert (stale.status_code, stale.json()["base"]) == (412, None)


async def test_the_past_is_what_it_was_or_cannot_be_asked_for(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    where = await made(base, editor, Count=1)
    await editor.patch(where, json={"fields": {"Count": 2}})
    await move_back(world, where, 1, 8)
    at = await move_back(world, where, 2, 6)
    assert await let_go(world, 8, 7) == ["dropped"] * 2
    since = datetime.combine(months.month(6), datetime.min.time(), UTC)
    for path in (where, base.path()):
        for kept_days in (90, 3650):
            await let_go(world, kept_days=kept_days)
            # A log that is to be kept for longer has no more than before.
            oldest = max(since, datetime.now(UTC) - timedelta(days=kept_days))
            old = await editor.get(path, params={"as_of": (oldest - timedelta(minutes=1)).isoformat()})
            assert (old.status_code, old.json()["code"]) == (410, "not_kept")
            assert abs(datetime.fromisoformat(old.json()["oldest"]) - oldest) < timedelta(minutes=1)
            later = await editor.get(path, params={"as_of": (oldest + timedelta(minutes=1)).isoformat()})
            assert later.status_code == 200
        then = await editor.get(path, params={"as_of": (at - timedelta(minutes=1)).isoformat()})
        record = then.json()["records"][0] if "records" in then.json() else then.json()
        assert record["fields"]["Count"] == 1


async def test_a_cursor_behind_what_is_left_is_refused_with_the_reason(
    base: Base, editor: httpx.AsyncClient, app: DataApi, world: World
) -> None:
    for ago in (8, 7, 6, 2):
        await move_back(world, await made(base, editor), 1, ago)
    cursors, query = app.state.parts.cursors, f"{base.tenant_id} {base.id} changes"
    since = int(datetime.combine(months.month(6), datetime.min.time(), UTC).timestamp() * 1000)
    assert await let_go(world, 8, 7) == ["dropped"] * 2
    # A log that is to be kept for longer has no more than before: that cursor is as lost as it was.
    await let_go(world, kept_days=3650)
    for at_ms, status in ((since - 1, 410), (since - 30 * DAY_MS, 410), (since + DAY_MS, 200)):
        after = cursors.write(query, [1, 0, 0, at_ms])
        for more in ({}, {"wait": 1}):
            answer = await editor.get(feed_of(base), params={"after": after, **more})
            assert answer.status_code == status, answer.text
            if status == 410:
                problem = answer.json()
                assert problem["code"] == "cursor_expired"
                assert problem["errors"][0]["pointer"] == "after"
                assert "after=latest" in problem["detail"]
    # Whoever begins at the oldest gets what is left, and each of its cursors is good.
    found = await all_after(editor, base)
    assert len(found) == 2
    for change in found:
        await read(editor, base, after=change["cursor"])


async def test_a_record_is_restored_until_the_moment_that_was_promised(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """However short the log is kept: a table's trash needs it for as long as the table says."""
    where = await made(base, editor, Count=7)
    table = f"tenant_{base.tenant_id}.tables"
    async with world.databases.administer("data") as conn:
        await conn.execute(f"update {table} set trash_days = 90")
        await conn.execute(f"update {base_fence(base)}")
    await editor.delete(where)
    for version in (1, 2):
        await move_back(world, where, version, 2)
    assert await let_go(world, 8, 7, 6, 5, 4, 3, 2, kept_days=1) == ["dropped"] * 6 + ["trash"]
    trash = await editor.get(base.path().removesuffix("records") + "trash")
    assert [record["id"] for record in trash.json()["records"]] == [where.rpartition("/")[2]]
    back = await editor.post(f"{where}/restore")
    assert (back.status_code, back.json()["fields"]["Count"]) == (200, 7)


def base_fence(base: Base) -> str:
    """Return what makes the API read a tenant's tables again, after UPDATE."""
    return f"platform.fences set catalog_version = catalog_version + 1 where tenant_id = '{base.tenant_id}'"


async def test_a_repeated_call_is_answered_alike_whatever_was_dropped(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """A key and the changes of its call are of one moment: the changes stay for as long as the key does."""
    where = await made(base, editor, Count=1)
    key = {"Idempotency-Key": ids.new()}
    first = await editor.patch(where, json={"fields": {"Count": 2}}, headers=key)
    for version in (1, 2):
        at = await move_back(world, where, version, 2)
    async with world.databases.administer("data") as conn:
        await conn.execute("update platform.idempotency set created_at = $1", at)
    assert await let_go(world, 8, 7, 6, 5, 4, 3, 2, kept_days=1) == ["dropped"] * 6 + ["idempotency"]
    again = await editor.patch(where, json={"fields": {"Count": 2}}, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-hit"] == "true"


async def test_a_repeated_call_that_changed_nothing_is_answered_alike(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """It names a version that may be older than all that is kept: it is still what the record was."""
    wheres = [await made(base, editor, Count=1) for _ in range(3)]
    for where in wheres:
        await move_back(world, where, 1, 8)
    assert await let_go(world, 8) == ["dropped"]
    calls = []
    for where in wheres:
        calls.append((where, {"fields": {"Count": 1}}, {"Idempotency-Key": ids.new()}))
    records = [{"id": where.rpartition("/")[2], "fields": {"Count": 1}} for where in wheres]
    calls.append((base.path(), {"records": records}, {"Idempotency-Key": ids.new()}))
    first = [await editor.patch(path, json=body, headers=key) for path, body, key in calls]
    # One stays as it is, one is changed since, one is deleted.
    await editor.patch(wheres[1], json={"fields": {"Count": 2}})
    await editor.delete(wheres[2])
    for (path, body, key), before in zip(calls, first, strict=True):
        again = await editor.patch(path, json=body, headers=key)
        assert again.headers["idempotency-hit"] == "true"
        assert (again.status_code, again.json()) == (before.status_code, before.json())


async def test_calls_go_on_while_months_are_dropped(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """Plans that are kept, of reads and of writes, lose a month that they were made with."""
    where = await made(base, editor, Count=0)
    done = asyncio.Event()
    statuses: list[int] = []

    async def calls() -> None:
        while not done.is_set():
            for answer in (
                await editor.post(base.path(), json={"fields": {"Name": "b"}}),
                await editor.get(f"{where}/history"),
                await editor.get(feed_of(base)),
                await editor.get(
                    base.path() + "?as_of=" + datetime.now(UTC).isoformat().replace("+00:00", "Z")
                ),
            ):
                statuses.append(answer.status_code)

    callers = [asyncio.create_task(calls()) for _ in range(3)]
    try:
        for ago in range(8, 4, -1):
            enough = len(statuses) + 20

            async def called(enough: int = enough) -> bool:
                return len(statuses) >= enough

            await seeds.until(called)
            assert await let_go(world, ago) == ["dropped"]
    finally:
        done.set()
        await asyncio.gather(*callers)
    assert set(statuses) == {200, 201}
