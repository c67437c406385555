"""Tenants' homes: bounded pools on the data clusters, and the one call that enters a tenant."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from json import dumps
from typing import Any, NamedTuple

import asyncpg

from core.errors import Unavailable
from db import pools
from db.data.statements import Statement
from db.lines import Connection, Lines, connect
from db.pools import Address

_RUN = "select body, hint, replayed_status from platform.run($1, $2, $3, $4, $5)"
_MAX_PREPARED = 200
"""A backend keeps 20 to 45 KB for each."""


@dataclass(frozen=True)
class Claims:
    """Who calls, for which base, and where its tenant lives: what `platform.enter` compares and sets."""

    tenant_id: str
    workspace_id: str
    base_id: str
    role: str
    generation: int
    token_id: str
    actor_id: str | None

    @cached_property
    def prefix(self) -> str:
        """The beginning of every ctx."""
        actor = f'"actor":"{self.actor_id}",' if self.actor_id else ""
        return (
            f'{{"tenant":"{self.tenant_id}","workspace":"{self.workspace_id}","base":"{self.base_id}",'
            f'"role":"{self.role}","generation":{self.generation},{actor}"token":"{self.token_id}"'
        )


class Answer(NamedTuple):
    """What a run answered: JSON as it came, and the status of the first call where this one repeats it."""

    body: bytes
    hint: bytes | None
    replayed_status: int | None


class Home:
    """One data cluster, as the Data API's role: it may execute `platform.run` and nothing else."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def run(self, ctx: str, statement: Statement, params: bytes, max_affected: int) -> Answer:
        """Enter the tenant that `ctx` names, run one statement, and leave; all of it or nothing.

        Raises asyncpg.PostgresError as the database said it, Unavailable where it said nothing.
        """
        try:
            conn = await self._lines.take()
        except pools.AWAY as error:
            raise Unavailable("the tenant's database does not answer") from error
        try:
            if statement.keep:
                row = await _run_kept(conn, ctx, statement, params, max_affected)
            else:
                row = await conn.statement.fetchrow(
                    ctx.encode(), statement.sql, statement.otherwise, params, max_affected
                )
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
        return Answer(row[0], row[1], row[2])

    async def close(self) -> None:
        """Close the connections; what is under way has a few seconds."""
        await self._lines.close()


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
            open_line = partial(connect, _RUN, **address._asdict(), **self._credential)
            home = self._homes[address] = Home(Lines(open_line, max_size=self._pool_max_size))
        return home

    async def close(self) -> None:
        """Close all homes."""
        await asyncio.gather(*(home.close() for home in self._homes.values()))


async def _run_kept(
    conn: Connection, ctx: str, statement: Statement, params: bytes, max_affected: int
) -> Any:
    prepared, name = conn.prepared, statement.name
    named = f'{ctx[:-1]},"statement":"{name}"}}'.encode()
    if prepared.get(name):
        prepared.move_to_end(name)
        # Whoever stands between us and the server lost it.
        with suppress(asyncpg.InvalidSQLStatementNameError):
            return await conn.statement.fetchrow(named, None, statement.otherwise, params, max_affected)
    if name not in prepared and len(prepared) >= _MAX_PREPARED:
        await _forget_oldest(conn)
    prepared[name] = False
    call = (named, statement.sql, statement.otherwise, params, max_affected)
    try:
        row = await conn.statement.fetchrow(*call)
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        row = await conn.statement.fetchrow(*call)
    # A repeated call is answered before anything is prepared.
    prepared[name] = row[2] is None
    return row


async def _forget_oldest(conn: Connection) -> None:
    oldest, _ = conn.prepared.popitem(last=False)
    with suppress(asyncpg.InvalidSQLStatementNameError):  # a call may be refused before it is prepared
        await conn.execute(f"deallocate {oldest}")


def member(name: str, value: object) -> str:
    """Return one more member of a ctx."""
    return f',"{name}":{dumps(value)}'
