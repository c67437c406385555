"""The access log's writer: append only, by function only, a batch at a time."""

from collections.abc import Iterable

import asyncpg

from db import pools

_WAIT_S = 3.0


class AccessLog:
    """The Activity DB as an API sees it that writes there; `name` is that of its connection."""

    def __init__(self, dsn: str, *, name: str) -> None:
        self._dsn = dsn
        self._name = name
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Make the pool; nothing connects yet."""
        self._pool = await pools.pool(self._dsn, max_size=1, name=self._name)

    async def close(self) -> None:
        """Close the pool."""
        if self._pool is not None:
            await pools.close(self._pool)

    async def add(self, rows: Iterable[str]) -> None:
        """Append rows, each a JSON object; one whose id is there already is not written again."""
        if self._pool is None:
            raise RuntimeError("open() has not run")
        async with self._pool.acquire(timeout=_WAIT_S) as conn:
            await conn.execute("select activity.add_access_logs($1)", f"[{','.join(rows)}]".encode())
