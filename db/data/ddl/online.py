"""Indexes built while reads and writes go on: not in a transaction, so look what is there, then act."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from core.ids import Ulid
from db.data import names
from db.data.ddl.base import Index

BUILD_TIMEOUT_S = 1_800


class StillBuilding(Exception):
    """An earlier attempt at this step has not ended yet: try again later."""


@asynccontextmanager
async def one_attempt(conn: asyncpg.Connection, operation_id: Ulid, step: int) -> AsyncIterator[None]:
    """Keep every other attempt at this step out; StillBuilding when there is one."""
    key = f"{operation_id} {step}"
    if not await conn.fetchval("select pg_try_advisory_lock(hashtextextended($1, 2))", key):
        raise StillBuilding("an earlier attempt at this step is still under way")
    try:
        yield
    finally:
        if not conn.is_closed():
            await conn.execute("select pg_advisory_unlock(hashtextextended($1, 2))", key)


async def build(conn: asyncpg.Connection, index: Index) -> None:
    """Build an index unless it is there and valid; what is left of an interrupted build goes first.

    Without a lock timeout: a build waits for every older transaction of the database, and with one would
    start from nothing each time. Raises UniqueViolationError, and leaves nothing, when values repeat.
    """
    async with _unhurried_owner(conn):
        if await _is_valid(conn, index):
            return
        await _drop(conn, index)
        try:
            await conn.execute(index.create)
        except asyncpg.UniqueViolationError:
            await _drop(conn, index)
            raise


@asynccontextmanager
async def _unhurried_owner(conn: asyncpg.Connection) -> AsyncIterator[None]:
    # A build whose worker was killed ends within seconds, instead of going on for nobody.
    try:
        await conn.execute(
            "set role tenant_owner; set lock_timeout = 0; set client_connection_check_interval = '2s';"
            f"set statement_timeout = '{BUILD_TIMEOUT_S}s'"
        )
        yield
    finally:
        if not conn.is_closed():
            await conn.execute(
                "reset role; reset lock_timeout; reset client_connection_check_interval;"
                "reset statement_timeout"
            )


async def _is_valid(conn: asyncpg.Connection, index: Index) -> bool:
    found = await conn.fetchval(
        "select i.indisvalid and i.indisready from pg_index i join pg_class c on c.oid = i.indexrelid"
        " join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2",
        index.schema,
        index.name,
    )
    return bool(found)


async def _drop(conn: asyncpg.Connection, index: Index) -> None:
    await conn.execute(
        f"drop index concurrently if exists {names.quoted(index.schema)}.{names.quoted(index.name)}"
    )
