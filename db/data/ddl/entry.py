"""The transaction of a step: the tenant's owner, at the tenant's present home, with bounded waits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from core.errors import StaleRoute
from db.data.ddl.base import STEP_TIMEOUT_S, Target

LOCK_TIMEOUT_MS = 300
"""Later readers and writers of a table wait behind one that waits for its lock: give up soon, try again."""


@asynccontextmanager
async def owner(
    conn: asyncpg.Connection,
    target: Target,
    *,
    timeout_s: int = STEP_TIMEOUT_S,
    alone: bool = False,
    readonly: bool = False,
) -> AsyncIterator[None]:
    """Be tenant_owner for one transaction; StaleRoute when the tenant has moved.

    The fence is taken as record writers take it: shared, or, with `alone`, when all of them are out.
    Operations already keep moves away from a living application; this stops an attempt that outlived its own.
    """
    async with conn.transaction(readonly=readonly):
        await conn.execute(
            "set local role tenant_owner;"
            f"set local lock_timeout = '{LOCK_TIMEOUT_MS}ms'; set local statement_timeout = '{timeout_s}s'"
        )
        shared = "" if alone else "_shared"
        await conn.execute(f"select pg_advisory_xact_lock{shared}(hashtextextended($1, 0))", target.tenant_id)
        # A statement of its own, so that its snapshot is taken after the lock was had.
        at_home = await conn.fetchval(
            "select true from platform.fences where tenant_id = $1 and generation = $2 and state = 'open'",
            target.tenant_id,
            target.generation,
        )
        if not at_home:
            raise StaleRoute("the tenant is not at home here")
        yield


async def tell(conn: asyncpg.Connection, target: Target) -> None:
    """Count up the tenant's catalog version; a step's last statement, since other bases wait behind it."""
    await conn.execute(
        "update platform.fences set catalog_version = catalog_version + 1, updated_at = now()"
        " where tenant_id = $1",
        target.tenant_id,
    )
