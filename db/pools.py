"""asyncpg connections for the record path: what is set is set for a transaction, so nothing is ever reset."""

import asyncio
from typing import NamedTuple

import asyncpg

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 10.0
"""Longer than the role's own statement_timeout: this one is for a network that swallows answers."""
IDLE_S = 120.0
MAX_STATEMENTS = 32
AWAY: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # A connection whose server said goodbye while nobody asked, until its socket is seen to be closed.
    asyncpg.InternalClientError,
)
"""What asyncpg raises where there is no database, no connection or no answer."""
NO_CONNECTION: tuple[type[Exception], ...] = (*AWAY, asyncpg.PostgresError)
"""What it raises where one asks for a connection: the database may refuse us too, being full, or our password old."""


class Address(NamedTuple):
    """Where a data cluster listens."""

    host: str
    port: int
    database: str


async def connect(dsn: str) -> asyncpg.Connection:
    """Open one connection of its own, for LISTEN."""
    return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S)


async def pool(dsn: str, *, max_size: int, name: str) -> asyncpg.Pool:
    """Return a pool that connects at its first use; JSON passes through it as bytes."""
    made = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=max_size,
        max_inactive_connection_lifetime=IDLE_S,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        statement_cache_size=MAX_STATEMENTS,
        max_cached_statement_lifetime=0,
        server_settings={"application_name": name, "jit": "off"},
        init=json_as_bytes,
        reset=_close_if_in_transaction,
    )
    return await made


async def json_as_bytes(conn: asyncpg.Connection) -> None:
    """Let JSON pass through a connection as bytes, both ways."""
    kinds = (("json", bytes, bytes), ("jsonb", _to_jsonb, _from_jsonb))
    for name, encoder, decoder in kinds:
        await conn.set_type_codec(
            name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="binary"
        )


def _to_jsonb(body: bytes) -> bytes:
    return b"\x01" + body


def _from_jsonb(sent: bytes) -> bytes:
    return sent[1:]


async def _close_if_in_transaction(conn: asyncpg.Connection) -> None:
    # asyncpg's own reset is a round trip; here nothing outlives a transaction, and none should be open.
    if conn.is_in_transaction():
        conn.terminate()


async def close(closing: asyncpg.Pool) -> None:
    """Close a pool; what is under way has a few seconds."""
    try:
        await asyncio.wait_for(closing.close(), CONNECT_TIMEOUT_S)
    except TimeoutError:
        closing.terminate()
