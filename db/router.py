"""From a cluster's id to connections on it, with this process's own credential."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import asyncpg
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import async_sessionmaker

from core.ids import Ulid
from db.control import placements
from db.control.placements import Cluster, Home
from db.sessions import ControlSession

Role = Literal["tenant_owner", "tenant_reader"]

_CONNECT_TIMEOUT_S = 5.0
_POOL_WAIT_S = 5.0
_IDLE_S = 60.0


class Clusters:
    """Bounded pools, one per data cluster in use; where a cluster is stands in the Control DB alone."""

    def __init__(
        self,
        control: async_sessionmaker[ControlSession],
        user: str,
        password: SecretStr,
        *,
        pool_size: int = 4,
    ) -> None:
        self._control = control
        self._user = user
        self._password = password
        self._pool_size = pool_size
        self._pools: dict[str, tuple[Cluster, asyncpg.Pool]] = {}
        self._making = asyncio.Lock()

    async def home(self, tenant_id: Ulid) -> Home:
        """Return where a tenant lives; NotFound where it has no place."""
        async with self._control() as session:
            return await placements.home_of(session, tenant_id)

    @asynccontextmanager
    async def connection(self, cluster_id: str) -> AsyncIterator[asyncpg.Connection]:
        """Lend one connection to a cluster, at the address that the Control DB has now."""
        async with self._control() as session:
            cluster = await placements.cluster(session, cluster_id)
        async with self._making:
            pool = await self._pool(cluster)
        async with pool.acquire(timeout=_POOL_WAIT_S) as conn:
            yield conn  # type: ignore[misc]

    @asynccontextmanager
    async def transaction(
        self, cluster_id: str, role: Role | None = None
    ) -> AsyncIterator[asyncpg.Connection]:
        """Lend one connection inside a transaction, as `role` when one is named."""
        async with self.connection(cluster_id) as conn, conn.transaction():
            if role is not None:
                await conn.execute(f"set local role {role}")
            yield conn

    async def close(self) -> None:
        """Close all pools."""
        while self._pools:
            _, (_, pool) = self._pools.popitem()
            await pool.close()

    async def _pool(self, cluster: Cluster) -> asyncpg.Pool:
        known = self._pools.get(cluster.id)
        if known is not None and known[0] == cluster:
            return known[1]
        pool = asyncpg.create_pool(
            host=cluster.host,
            port=cluster.port,
            database=cluster.database,
            user=self._user,
            password=self._password.get_secret_value(),
            min_size=0,
            max_size=self._pool_size,
            max_inactive_connection_lifetime=_IDLE_S,
            timeout=_CONNECT_TIMEOUT_S,
        )
        await pool
        self._pools[cluster.id] = (cluster, pool)
        if known is not None:
            known[1].terminate()
        return pool
