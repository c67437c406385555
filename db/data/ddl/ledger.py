"""Which steps of a schema application are done: written in the transaction of what they do."""

import asyncpg

from core.errors import Conflict
from core.ids import Ulid
from db.data.ddl.base import Target

State = str | None


async def enter(conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int, kind: str) -> bool:
    """Enter a step as started and answer True, or False when it is done. A twin's attempt is waited for.

    Raises Conflict when the step was undone: an attempt that comes late must not do it again.
    """
    await conn.execute(
        "insert into platform.schema_steps (tenant_id, operation_id, step, kind, state)"
        " values ($1, $2, $3, $4, 'started') on conflict do nothing",
        target.tenant_id,
        operation_id,
        step,
        kind,
    )
    state = await state_of(conn, target, operation_id, step)
    if state == "undone":
        raise Conflict(f"step {step} of this application was undone", code="operation_over")
    return state == "started"


async def state_of(conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int) -> State:
    """Return how far a step is: started, done, undone, or None."""
    state: State = await conn.fetchval(
        "select state from platform.schema_steps where tenant_id = $1 and operation_id = $2 and step = $3"
        " for update",
        target.tenant_id,
        operation_id,
        step,
    )
    return state


async def forbid(conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int, kind: str) -> State:
    """Return how far a step is; one that was never entered is undone from now on. A twin is waited for."""
    await conn.execute(
        "insert into platform.schema_steps (tenant_id, operation_id, step, kind, state, ended_at)"
        " values ($1, $2, $3, $4, 'undone', now()) on conflict do nothing",
        target.tenant_id,
        operation_id,
        step,
        kind,
    )
    return await state_of(conn, target, operation_id, step)


async def leave(conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int, state: str) -> None:
    """Write how a step that was entered ended."""
    await conn.execute(
        "update platform.schema_steps set state = $4, ended_at = clock_timestamp()"
        " where tenant_id = $1 and operation_id = $2 and step = $3",
        target.tenant_id,
        operation_id,
        step,
        state,
    )
