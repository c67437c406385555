"""Plans that a session keeps: made while a table is tiny, they must still be right when it has grown."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from core import body as bodies
from core import ids
from core.body import Write
from db.data import records, statements
from db.data.homes import Home, Key
from tests.api.data.world import World
from tests.conftest import Databases
from tests.db.data.homes import line
from tests.db.data.test_records import call_on
from tests.seeds import until

CALLS = 150


@pytest.fixture
async def home(databases: Databases) -> AsyncIterator[Home]:
    """One connection, which keeps its plans from the first call to the last."""
    async with line(databases) as reached:
        yield reached


async def test_no_call_reads_a_table_as_a_whole(databases: Databases, home: Home) -> None:
    base = await World(databases).tenant()
    await base.add_table("Tasks")
    call = await call_on(base, home)
    body = bodies.read(call.table, Write.CREATE, b'{"fields":{"Name":"a"}}')
    change = bodies.read(call.table, Write.MERGE, b'{"fields":{"Name":"b"}}')
    table = statements.physical(call.table).replace('"', "")
    read = ("platform.fences", "platform.idempotency", table)
    async with databases.own("data") as conn:
        # What the planner knows when the session makes its plans: next to nothing is there.
        await conn.execute("delete from platform.idempotency")
        await conn.execute(f"vacuum analyze {', '.join((*read[:2], statements.physical(call.table)))}")
        before = await _read(conn, read)

        for n in range(CALLS):
            record_id = ids.new()
            one = replace(call, operation_id=record_id, key=Key(f"create {n}", "h"))
            made = await records.create(one, body)
            record_id = json.loads(made.body)["id"]
            await records.update(
                replace(call, operation_id=ids.new(), key=Key(f"update {n}", "h")), change, record_id, None
            )
            await records.get(call, record_id, None)
        conn_of_calls = await home._lines.take("")
        await conn_of_calls.execute("select pg_stat_force_next_flush()")
        home._lines.give(conn_of_calls)

        async def is_told() -> bool:
            return sum((await _read(conn, read)).values()) > sum(before.values())

        await until(is_told)
        after = await _read(conn, read)
    for name in read:
        # A row or two for each look at a key; a scan of the whole would have read thousands of times as many.
        assert after[name] - before[name] <= 8 * CALLS, name


async def _read(conn: asyncpg.Connection, names: tuple[str, ...]) -> dict[str, int]:
    """Count the index entries and rows that were read of each table."""
    rows = await conn.fetch(
        "select t.schemaname || '.' || t.relname as name,"
        "       t.seq_tup_read + coalesce(sum(i.idx_tup_read), 0)::bigint as read"
        "  from pg_stat_user_tables t left join pg_stat_user_indexes i using (relid)"
        " where t.schemaname || '.' || t.relname = any ($1) group by 1, t.seq_tup_read",
        list(names),
    )
    return {row["name"]: row["read"] for row in rows}
