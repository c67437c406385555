"""Engines and pools: the only place where a DSN becomes a connection."""

from typing import Any, TypeAlias

import asyncpg
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_CONNECT_TIMEOUT_S = 5.0
_POOL_WAIT_S = 5.0
_RECYCLE_S = 1_800

Engine: TypeAlias = AsyncEngine
Connection: TypeAlias = asyncpg.Connection
"""For those who hold one and may not know the library."""


def engine(dsn: SecretStr, *, pool_size: int = 4) -> AsyncEngine:
    """Return a lazy SQLAlchemy engine with a bounded pool; nothing connects before its first use."""
    return create_async_engine(
        dsn.get_secret_value().replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_S,
        pool_recycle=_RECYCLE_S,
        pool_pre_ping=True,
        # Parameters are tenants' content, which belongs in no log.
        hide_parameters=True,
        connect_args={"timeout": _CONNECT_TIMEOUT_S},
    )


async def connect(dsn: SecretStr, **kwargs: Any) -> asyncpg.Connection:
    """Open one asyncpg connection of its own, for LISTEN and for DDL."""
    return await asyncpg.connect(dsn.get_secret_value(), timeout=_CONNECT_TIMEOUT_S, **kwargs)
