"""What a connection to a data cluster is asked: a few calls, prepared once, and the statements that they keep."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg

from db.data.statements import Statement
from db.lines import Connection

READ, WRITE, ROWS, TOGETHER, READ_TOGETHER = range(5)
"""The calls, by their places."""
CALLS = (
    "select body, hint from platform.read($1, $2, $3, $4, $5, $6, $7, $8)",
    "select body, hint, replayed_status from platform.write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,"
    " $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
    "select body, replayed_status from platform.write_rows($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,"
    " $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
    "select body, hint from platform.write_together($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,"
    " $11, $12, $13, $14, $15, $16)",
    "select body, hint from platform.read_together($1, $2, $3, $4, $5, $6, $7)",
)
"""What a connection prepares as it is opened, in this order."""
_MAX_PREPARED = 200
"""A backend keeps 20 to 45 KB for each."""


async def called(
    conn: Connection,
    which: int,
    head: tuple[Any, ...],
    statement: Statement,
    tail: tuple[Any, ...],
    *,
    several: bool = False,
) -> Any:
    """Return the row, or the rows where there are `several`, that a call answers which runs `statement`.

    It is told by name where the connection has prepared it.
    """
    call = conn.statements[which]
    fetch = call.fetch if several else call.fetchrow
    if not statement.keep:
        return await fetch(*head, None, statement.sql, *tail)
    name = statement.name
    if conn.prepared.get(name):
        conn.prepared.move_to_end(name)
        # Whoever stands between us and the server lost it.
        with suppress(asyncpg.InvalidSQLStatementNameError):
            return await fetch(*head, name, None, *tail)
    return await _prepared(conn, fetch, head, statement, tail)


async def done(conn: Connection, which: int, *args: Any) -> Any:
    """Return the row that a call answers."""
    return await conn.statements[which].fetchrow(*args)


async def undone(conn: Connection, which: int, *args: Any) -> Any:
    """Return the row that a call answers, all of whose effects are rolled back."""
    await conn.execute("begin")
    try:
        return await conn.statements[which].fetchrow(*args)
    finally:
        await conn.execute("rollback")


async def bounded(conn: Connection, within_s: float, *args: Any) -> Any:
    """Return the row that a read answers; raises asyncpg.QueryCanceledError where it takes longer than `within_s`."""
    await conn.execute(f"begin; set local statement_timeout = '{round(within_s * 1_000)}ms'")
    try:
        return await conn.statements[READ].fetchrow(*args)
    finally:
        await conn.execute("rollback")


async def _prepared(
    conn: Connection,
    fetch: Callable[..., Awaitable[Any]],
    head: tuple[Any, ...],
    statement: Statement,
    tail: tuple[Any, ...],
) -> Any:
    """Run a statement that is to be prepared on the way."""
    prepared, name = conn.prepared, statement.name
    if name not in prepared and len(prepared) >= _MAX_PREPARED:
        await _forget_oldest(conn)
    prepared[name] = False
    try:
        found = await fetch(*head, name, statement.sql, *tail)
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        found = await fetch(*head, name, statement.sql, *tail)
    # A repeated call is answered before anything is prepared.
    is_repeated = isinstance(found, asyncpg.Record) and len(found) > 2 and found[2] is not None
    prepared[name] = not is_repeated
    return found


async def _forget_oldest(conn: Connection) -> None:
    oldest, _ = conn.prepared.popitem(last=False)
    with suppress(asyncpg.InvalidSQLStatementNameError):  # a call may be refused before it is prepared
        await conn.execute(f"deallocate {oldest}")
