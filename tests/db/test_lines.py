"""Lines: never more than allowed, none lost, whoever gives up or breaks."""

import asyncio
from typing import Any

import asyncpg
import pytest

from core.errors import Unavailable
from db import lines
from db.lines import Connection, Lines
from tests.conftest import Databases


@pytest.fixture
async def opened(databases: Databases) -> Any:
    """Three lines, and a list of every connection that was ever opened."""
    made: list[Connection] = []

    async def connect() -> Connection:
        conn = await lines.connect(["select pg_backend_pid()"], dsn=databases.dsn("data_api", "data"))
        made.append(conn)
        return conn

    pool = Lines(connect, max_size=3)
    yield pool, made
    await pool.close()
    assert all(conn.is_closed() for conn in made)


async def _use(pool: Lines, seconds: float = 0.0) -> None:
    conn = await pool.take("a")
    try:
        await conn.fetchval("select pg_sleep($1)", seconds)
    except BaseException:
        conn.terminate()
        raise
    finally:
        pool.give(conn)


async def test_there_are_never_more_than_allowed(opened: Any) -> None:
    pool, made = opened
    await asyncio.gather(*(_use(pool, 0.01) for _ in range(30)))
    assert len(made) == 3
    await _use(pool)
    assert len(made) == 3


async def test_whoever_gives_up_takes_none_along(opened: Any) -> None:
    """Cancelled while waiting, while connecting, while at work: three lines work on."""
    pool, _ = opened
    for pause_s in (0, 0.001, 0.005, 0.02):
        tasks = [asyncio.create_task(_use(pool, 0.01)) for _ in range(20)]
        await asyncio.sleep(pause_s)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    held = [await pool.take("a") for _ in range(3)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pool.take("a"), 0.05)
    for conn in held:
        pool.give(conn)
    await asyncio.gather(*(_use(pool) for _ in range(10)))


async def test_a_broken_line_makes_room_for_another(opened: Any) -> None:
    pool, made = opened
    held = [await pool.take("a") for _ in range(3)]
    waiting = [asyncio.create_task(_use(pool)) for _ in range(3)]
    await asyncio.sleep(0)
    for conn in held[:2]:
        conn.terminate()
    for conn in held:
        pool.give(conn)
    await asyncio.gather(*waiting)
    assert len(made) == 5


async def test_a_line_that_died_in_peace_is_not_lent(opened: Any, databases: Databases) -> None:
    pool, made = opened
    await _use(pool)
    admin = await asyncpg.connect(databases.cluster.dsn("data"))
    await admin.execute("select pg_terminate_backend($1)", made[0].get_server_pid())
    await admin.close()
    async with asyncio.timeout(5):
        while not made[0].is_closed():  # noqa: ASYNC110  (another process's doing has no event here)
            await asyncio.sleep(0.01)
    await _use(pool)
    assert len(made) == 2


async def test_an_open_transaction_is_not_lent(opened: Any) -> None:
    pool, made = opened
    conn = await pool.take("a")
    await conn.execute("begin")
    pool.give(conn)
    await _use(pool)
    assert conn.is_closed()
    assert len(made) == 2


async def test_a_worn_line_is_replaced(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_USES", 5)
    pool, made = opened
    for _ in range(11):
        await _use(pool)
    assert len(made) == 3


async def test_who_comes_too_late_is_told_at_once(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_WAITING_OF_ONE", 2)
    monkeypatch.setattr(lines, "WAIT_S", 0.2)
    pool, _ = opened
    held = [await pool.take("a") for _ in range(3)]
    waiting = [asyncio.create_task(pool.take("a")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="too many"):
        await pool.take("a")
    others = asyncio.create_task(pool.take("b"))
    await asyncio.sleep(0)
    monkeypatch.setattr(lines, "MAX_WAITING", 3)
    with pytest.raises(Unavailable, match="too many"):
        await pool.take("c")
    for task in (*waiting, others):
        with pytest.raises(Unavailable, match="busy"):
            await task
    for conn in held:
        pool.give(conn)
    await _use(pool)


async def test_tenants_take_turns_however_many_callers_each_has(opened: Any) -> None:
    pool, _ = opened
    held = [await pool.take("a") for _ in range(3)]
    served: list[str] = []

    async def call(tenant: str) -> None:
        conn = await pool.take(tenant)
        served.append(tenant)
        pool.give(conn)

    calls = [asyncio.create_task(call(tenant)) for tenant in "aaaaaabbc"]
    await asyncio.sleep(0)
    for conn in held[1:]:
        conn.terminate()
        pool.give(conn)
    pool.give(held[0])
    await asyncio.gather(*calls)
    assert sorted(served[:3]) == ["a", "b", "c"]
    assert sorted(served) == sorted("aaaaaabbc")


async def test_where_nobody_listens_nothing_is_counted() -> None:
    async def connect() -> Connection:
        raise OSError("nobody there")

    pool = Lines(connect, max_size=2)
    for _ in range(5):
        with pytest.raises(OSError, match="nobody"):
            await pool.take("a")
    await pool.close()
