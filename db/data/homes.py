"""Tenants' homes: bounded pools on the data clusters, and the one call that enters a tenant."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import asyncpg

from core.errors import Unavailable
from db import pools
from db.data.statements import Statement
from db.lines import Connection, Lines, connect
from db.pools import Address

_READ = "select body, hint from platform.read($1, $2, $3, $4, $5, $6, $7, $8)"
_WRITE = (
    "select body, hint, replayed_status from platform.write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,"
    " $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)"
)
_ROWS = (
    "select body, replayed_status from platform.write_rows($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,"
    " $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
)
CALLS = (_READ, _WRITE, _ROWS)
"""What a connection can call, in the order in which it has prepared them."""
_MAX_PREPARED = 200
"""A backend keeps 20 to 45 KB for each."""


@dataclass(frozen=True)
class Claims:
    """Who calls, for which base, and where its tenant lives: what entering compares and sets."""

    tenant_id: str
    workspace_id: str
    base_id: str
    role: str
    generation: int
    token_id: str
    actor_id: str | None

    @cached_property
    def words(self) -> str:
        """What is compared with the policies, after the tenant."""
        return f"{self.workspace_id} {self.base_id} {self.role}"


@dataclass(frozen=True, slots=True)
class Key:
    """A call's Idempotency-Key, what tells it from another call with the same key, and the status it is kept with."""

    key: str
    request_hash: str
    status: int = 200


@dataclass(frozen=True, slots=True)
class Effect:
    """What a write is besides its statement: whose operation, on which schema, and how much it may do."""

    operation_id: str
    schema_version: int
    expect: int | None
    """How many rows it must affect; None where any number up to `most` is right."""
    most: int
    key: Key | None = None
    match: list[int] | None = None
    """The versions that may be changed; None for any."""
    coercions: bytes | None = None
    """What was coerced in the body, as JSON, kept for a repeated call."""
    is_dry: bool = False
    """Whether all of it is rolled back at the end."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Records that are written one by one or all together, and answered by rows."""

    sql: str
    otherwise: str
    """What tells each record's outcome, after `sql` and with a snapshot of its own."""
    taken: str | None
    """What finds the records to blame where a unique value was refused."""
    params: bytes
    ids: Sequence[str]
    each: bool
    """Whether what one record is refused for keeps no other from being written."""
    places: Sequence[int]
    """Where the records stand in the call, from 0."""
    refused: bytes = b"[]"
    """The rows of those that stand elsewhere in it."""


class Answer(NamedTuple):
    """What a run answered: JSON as it came, and the status of the first call where this one repeats it."""

    body: bytes
    hint: bytes | None
    replayed_status: int | None


class Home:
    """One data cluster, as the Data API's role: it may execute `platform.read`, `write` and `write_rows`."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def read(
        self,
        claims: Claims,
        catalog: int | None,
        statement: Statement,
        params: bytes,
        ids: Sequence[str] = (),
        *,
        within_s: float | None = None,
    ) -> Answer:
        """Enter the tenant, read by one statement, and leave; `within_s` is a bound for what may take long.

        Raises asyncpg.PostgresError as the database said it, Unavailable where it said nothing.
        """
        head = (claims.tenant_id, claims.words, claims.generation, catalog)
        if within_s is None:
            row = await self._lent(claims.tenant_id, _called, 0, head, statement, (params, ids))
        else:
            row = await self._lent(
                claims.tenant_id, _bounded, within_s, *head, None, statement.sql, params, ids
            )
        return Answer(row[0], row[1], None)

    async def write(
        self,
        claims: Claims,
        catalog: int,
        effect: Effect,
        statement: Statement,
        params: bytes,
        ids: Sequence[str] = (),
        *,
        replay: bool = False,
    ) -> Answer:
        """Enter the tenant, write by one statement, and leave; all of it or nothing.

        `replay` sends along what answers a call that was done before. Raises as `read` does.
        """
        tail = (
            statement.otherwise,
            statement.replay if replay else None,
            params,
            ids,
            effect.match,
            effect.expect,
            effect.most,
            effect.coercions,
        )
        head = _writing(claims, catalog, effect)
        if effect.is_dry:
            row = await self._lent(claims.tenant_id, _undone, 1, *head, None, statement.sql, *tail)
        else:
            row = await self._lent(claims.tenant_id, _called, 1, head, statement, tail)
        return Answer(row[0], row[1], row[2])

    async def write_rows(self, claims: Claims, catalog: int, effect: Effect, rows: Rows) -> Answer:
        """Enter the tenant, write records and tell of each, and leave. Raises as `read` does."""
        head = _writing(claims, catalog, effect)
        tail = (
            rows.sql,
            rows.otherwise,
            rows.taken,
            rows.params,
            rows.ids,
            rows.each,
            rows.places,
            rows.refused,
            effect.coercions,
        )
        row = await self._lent(claims.tenant_id, _undone if effect.is_dry else _done, 2, *head, *tail)
        return Answer(row[0], row[0], row[1])

    async def close(self) -> None:
        """Close the connections; what is under way has a few seconds."""
        await self._lines.close()

    async def _lent(self, tenant_id: str, call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        try:
            conn = await self._lines.take(tenant_id)
        except pools.NO_CONNECTION as error:
            raise Unavailable("the tenant's database does not answer") from error
        try:
            return await call(conn, *args)
        except asyncpg.PostgresError:
            raise
        except pools.AWAY as error:
            conn.terminate()
            raise Unavailable("the tenant's database does not answer") from error
        except BaseException:
            conn.terminate()  # what it was doing is not known to have ended
            raise
        finally:
            self._lines.give(conn)


class Homes:
    """The homes in use, one per cluster, with this process's one credential."""

    def __init__(self, user: str, password: str, *, pool_max_size: int) -> None:
        self._credential = {"user": user, "password": password}
        self._pool_max_size = pool_max_size
        self._homes: dict[Address, Home] = {}

    def at(self, address: Address) -> Home:
        """Return the home at `address`; nothing connects before its first run."""
        home = self._homes.get(address)
        if home is None:
            open_line = partial(connect, CALLS, **address._asdict(), **self._credential)
            home = self._homes[address] = Home(Lines(open_line, max_size=self._pool_max_size))
        return home

    async def close(self) -> None:
        """Close all homes."""
        await asyncio.gather(*(home.close() for home in self._homes.values()))


def _writing(claims: Claims, catalog: int, effect: Effect) -> tuple[Any, ...]:
    key = effect.key
    named = (None, None, None) if key is None else (key.key, key.request_hash, key.status)
    return (
        claims.tenant_id,
        claims.words,
        claims.generation,
        catalog,
        effect.schema_version,
        claims.token_id,
        claims.actor_id,
        effect.operation_id,
        *named,
    )


async def _called(
    conn: Connection, which: int, head: tuple[Any, ...], statement: Statement, tail: tuple[Any, ...]
) -> Any:
    call = conn.statements[which]
    if not statement.keep:
        return await call.fetchrow(*head, None, statement.sql, *tail)
    name = statement.name
    if conn.prepared.get(name):
        conn.prepared.move_to_end(name)
        # Whoever stands between us and the server lost it.
        with suppress(asyncpg.InvalidSQLStatementNameError):
            return await call.fetchrow(*head, name, None, *tail)
    return await _prepared(conn, call, head, statement, tail)


async def _done(conn: Connection, which: int, *args: Any) -> Any:
    return await conn.statements[which].fetchrow(*args)


async def _undone(conn: Connection, which: int, *args: Any) -> Any:
    await conn.execute("begin")
    try:
        return await conn.statements[which].fetchrow(*args)
    finally:
        await conn.execute("rollback")


async def _bounded(conn: Connection, within_s: float, *args: Any) -> Any:
    await conn.execute(f"begin; set local statement_timeout = '{round(within_s * 1_000)}ms'")
    try:
        return await conn.statements[0].fetchrow(*args)
    finally:
        await conn.execute("rollback")


async def _prepared(
    conn: Connection, call: Any, head: tuple[Any, ...], statement: Statement, tail: tuple[Any, ...]
) -> Any:
    """Run a statement that is to be prepared on the way."""
    prepared, name = conn.prepared, statement.name
    if name not in prepared and len(prepared) >= _MAX_PREPARED:
        await _forget_oldest(conn)
    prepared[name] = False
    try:
        row = await call.fetchrow(*head, name, statement.sql, *tail)
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        row = await call.fetchrow(*head, name, statement.sql, *tail)
    # A repeated call is answered before anything is prepared.
    prepared[name] = len(row) < 3 or row[2] is None
    return row


async def _forget_oldest(conn: Connection) -> None:
    oldest, _ = conn.prepared.popitem(last=False)
    with suppress(asyncpg.InvalidSQLStatementNameError):  # a call may be refused before it is prepared
        await conn.execute(f"deallocate {oldest}")
