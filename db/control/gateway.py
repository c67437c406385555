"""The Data API's only doors into the Control DB: functions of the `gateway` schema, and its notifications."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from core.errors import Unavailable
from db import pools
from db.pools import Address

HEARTBEAT_S = 1.0
_HEARTBEAT_TIMEOUT_S = 2.0
_RECONNECT_S = 0.5
_POOL_SIZE = 4
_WAIT_S = 3.0
_CHANNEL = "gateway"

_AWAY: tuple[type[Exception], ...] = (
    *pools.AWAY,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
_REFUSED: tuple[type[Exception], ...] = (*pools.AWAY, asyncpg.PostgresError)

_log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Reach:
    """A base that a token may reach: as whom, and where its tenant lives."""

    base_id: str
    workspace_id: str
    role: str
    address: Address
    placement_state: str
    generation: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token is, and its reach; without one the base is another's, is not there, or is closed to its maker."""

    token_id: str
    tenant_id: str
    tenant_status: str
    scopes: frozenset[str]
    expires_at: float | None
    actor_id: str | None
    reach: Reach | None


class Gateway:
    """A small pool for questions, and a connection of its own for what is told unasked."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Make the pool; nothing connects yet."""
        self._pool = await pools.pool(self._dsn, max_size=_POOL_SIZE, name="planebase-data-api")

    async def close(self) -> None:
        """Close the pool."""
        if self._pool is not None:
            await pools.close(self._pool)

    async def authenticate(self, token_hash: str, base_id: str) -> Grant | None:
        """Return what the token grants at the base; None for a token that is unknown, revoked or expired."""
        rows = await self._call("select * from gateway.authenticate($1, $2)", token_hash, base_id)
        return _grant(rows[0]) if rows else None

    async def touch_tokens(self, last_used: Mapping[str, str]) -> None:
        """Move tokens' `last_used_at` forward, by id."""
        rows = [{"id": token_id, "at": at} for token_id, at in last_used.items()]
        await self._call("select gateway.touch_tokens($1)", json.dumps(rows).encode())

    async def add_usage(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Add usage events; one that is there already adds nothing."""
        await self._call("select gateway.add_usage($1)", json.dumps(list(events)).encode())

    async def listen(self, told: Callable[[str], None], heard: Callable[[], None]) -> None:
        """Run for ever: `told` of each notification and of each new connection, `heard` at every sign of life."""
        was_away = False
        while True:
            try:
                conn = await pools.connect(self._dsn)
                try:
                    await conn.add_listener(_CHANNEL, lambda *args: told(str(args[3])))
                    told("connected")  # whatever was said before is lost
                    if was_away:
                        _log.info("the Control DB is back")
                    was_away = False
                    while True:
                        heard()
                        await asyncio.sleep(HEARTBEAT_S)
                        await conn.fetchval("select 1", timeout=_HEARTBEAT_TIMEOUT_S)
                finally:
                    conn.terminate()
            except _REFUSED as error:
                if not was_away:
                    _log.warning("the Control DB is away: cached tokens go on for a while", error=repr(error))
                was_away = True
                await asyncio.sleep(_RECONNECT_S)

    async def _call(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        if self._pool is None:
            raise RuntimeError("open() has not run")
        try:
            async with self._pool.acquire(timeout=_WAIT_S) as conn:
                rows: list[asyncpg.Record] = await conn.fetch(sql, *args)
                return rows
        except _AWAY as error:
            raise Unavailable("the Control DB does not answer") from error


def _grant(row: asyncpg.Record) -> Grant:
    reach = None
    if row["base_id"] is not None and row["role"] is not None and row["host"] is not None:
        reach = Reach(
            row["base_id"],
            row["workspace_id"],
            row["role"],
            Address(row["host"], row["port"], row["database"]),
            row["placement_state"],
            row["generation"],
        )
    return Grant(
        row["token_id"],
        row["tenant_id"],
        row["tenant_status"],
        frozenset(row["scopes"]),
        None if row["expires_at"] is None else row["expires_at"].timestamp(),
        row["created_by_user"],
        reach,
    )
