"""Tenants' homes: bounded pools on the data clusters, and the one call that enters a tenant."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from json import dumps
from typing import NamedTuple

import asyncpg

from core.errors import Unavailable
from db import pools
from db.data.statements import Statement
from db.pools import Address

_RUN = "select body, hint, replayed_status from platform.run($1, $2, $3, $4, $5)"
_WAIT_S = 2.0
_MAX_WAITING = 512
"""Who comes when so many wait already is told at once: an answer that comes too late helps nobody."""
APPLICATION = "planebase-data-api"


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

    def __init__(self, pool: asyncpg.Pool, address: Address) -> None:
        self._pool = pool
        self._waiting = 0
        self.address = address

    async def run(self, ctx: str, statement: Statement, params: bytes, max_affected: int) -> Answer:
        """Enter the tenant that `ctx` names, run one statement, and leave; all of it or nothing.

        Raises asyncpg.PostgresError as the database said it, Unavailable where it said nothing.
        """
        if self._waiting >= _MAX_WAITING:
            raise Unavailable("too many calls are waiting for this cluster", code="overloaded")
        self._waiting += 1
        try:
            async with self._pool.acquire(timeout=_WAIT_S) as conn:
                row = await conn.fetchrow(
                    _RUN, ctx.encode(), statement.sql, statement.otherwise, params, max_affected
                )
        except pools.AWAY as error:
            raise Unavailable("the tenant's database does not answer") from error
        finally:
            self._waiting -= 1
        assert row is not None  # noqa: S101  (a function with OUT parameters answers one row)
        return Answer(row[0], row[1], row[2])

    async def close(self) -> None:
        """Close the pool; what is under way has a few seconds."""
        await pools.close(self._pool)


class Homes:
    """The pools, one per cluster in use, with this process's one credential."""

    def __init__(self, user: str, password: str, *, pool_max_size: int) -> None:
        self._credential: Mapping[str, str] = {"user": user, "password": password}
        self._pool_max_size = pool_max_size
        self._homes: dict[Address, Home] = {}

    async def at(self, address: Address) -> Home:
        """Return the home at `address`; nothing connects before its first run."""
        home = self._homes.get(address)
        if home is None:
            made = await pools.pool(
                None,
                max_size=self._pool_max_size,
                name=APPLICATION,
                host=address.host,
                port=address.port,
                database=address.database,
                **self._credential,
            )
            home = self._homes.setdefault(address, Home(made, address))
        return home

    async def close(self) -> None:
        """Close all pools."""
        await asyncio.gather(*(home.close() for home in self._homes.values()))


def member(name: str, value: object) -> str:
    """Return one more member of a ctx."""
    return f',"{name}":{dumps(value)}'
