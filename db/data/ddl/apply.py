"""One step of a schema application, done or undone exactly once."""

from typing import Any

import asyncpg

from core.errors import Conflict, Fault, PlanebaseError
from core.ids import Ulid
from core.schema.ops import Op
from core.schema.plan import Plan
from db.data.ddl import DDL, entry, ledger, online
from db.data.ddl.base import SCAN_TIMEOUT_S, Ddl, Index, Sql, Target

_TOO_MANY_COLUMNS = (
    "{table!r} has used up the 1,600 columns that PostgreSQL allows a table, dropped ones included:"
    " copy it to a new table"
)


async def apply_step(conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int, op: Op) -> bool:
    """Do one step and answer True, or False when it was done already: DDL, metadata and ledger together.

    Raises Invalid or Conflict when the data refuses it, which leaves the tables as they were, and StaleRoute
    when the tenant has moved. Everything else (asyncpg's LockNotAvailableError, StillBuilding, a lost
    connection) passes through and is to be tried again. `conn` is a connection of the step's own.
    """
    ddl = DDL[op.kind]
    try:
        if ddl.index is not None:
            index = ddl.index(op, target)
            return await _apply_online(conn, target, operation_id, step, op, ddl, index)
        async with entry.owner(conn, target, timeout_s=ddl.timeout_s, alone=ddl.fenced):
            if not await ledger.enter(conn, target, operation_id, step, op.kind):
                return False
            if ddl.fenced:
                await _check(conn, target, op, ddl)
            await _commit(conn, target, operation_id, step, op, ddl)
            return True
    except asyncpg.IntegrityConstraintViolationError:
        async with entry.owner(conn, target, timeout_s=SCAN_TIMEOUT_S):
            await _check(conn, target, op, ddl)
        raise
    except asyncpg.TooManyColumnsError:
        words = _TOO_MANY_COLUMNS.format(table=getattr(op, "table", ""))
        raise Conflict(
            words, (Fault(op.pointer, "too_many_columns", words),), code="too_many_columns"
        ) from None


async def undo_step(conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int, op: Op) -> bool:
    """Undo one step and answer True, or False when there is nothing to undo. It cannot be done again then."""
    ddl = DDL[op.kind]
    if ddl.down is None:
        raise ValueError(f"{op.kind} cannot be undone")
    down = ddl.down(op, target)
    if ddl.index is None:
        return await _undo(conn, target, operation_id, step, op, down)
    async with online.one_attempt(conn, operation_id, step):
        return await _undo(conn, target, operation_id, step, op, down)


async def preflight(conn: asyncpg.Connection, target: Target, plan: Plan) -> None:
    """Raise Invalid or Conflict, with a pointer for each, where what the tables hold now refuses the plan."""
    new = {step.subject for step in plan.steps if step.kind in ("create_table", "add_field")}
    refused: list[tuple[Fault, type[PlanebaseError]]] = []
    for op in plan.steps:
        ddl = DDL[op.kind]
        check = ddl.check(op, target) if ddl.check else None
        if check is None or {getattr(op, "table_id", None), getattr(op, "field_id", None)} & new:
            continue
        async with entry.owner(conn, target, timeout_s=SCAN_TIMEOUT_S, readonly=True):
            fault = check.fault(await conn.fetchval(*_call(check.count)), op.pointer)
        if fault:
            refused.append((fault, check.error))
    if refused:
        faults = tuple(fault for fault, _ in refused)
        raise refused[0][1](faults[0].detail, faults, code=faults[0].code)


def statements(op: Op, target: Target) -> list[str]:
    """Return the SQL of a step for people to read, `$1` standing for what goes in as a parameter."""
    ddl = DDL[op.kind]
    index = [ddl.index(op, target).create] if ddl.index else []
    return [*index, *(sql.text for sql in ddl.up(op, target))]


async def _apply_online(
    conn: asyncpg.Connection,
    target: Target,
    operation_id: Ulid,
    step: int,
    op: Op,
    ddl: Ddl[Any],
    index: Index,
) -> bool:
    async with online.one_attempt(conn, operation_id, step):
        async with entry.owner(conn, target):
            if not await ledger.enter(conn, target, operation_id, step, op.kind):
                return False
        await online.build(conn, index)
        async with entry.owner(conn, target):
            await ledger.enter(conn, target, operation_id, step, op.kind)
            await _commit(conn, target, operation_id, step, op, ddl)
        return True


async def _commit(
    conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int, op: Op, ddl: Ddl[Any]
) -> None:
    for sql in ddl.up(op, target):
        await conn.execute(*_call(sql))
    await ledger.leave(conn, target, operation_id, step, "done")
    await entry.tell(conn, target)


async def _undo(
    conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int, op: Op, down: list[Sql]
) -> bool:
    async with entry.owner(conn, target):
        if await ledger.forbid(conn, target, operation_id, step, op.kind) == "undone":
            return False
        for sql in down:
            await conn.execute(*_call(sql))
        await ledger.leave(conn, target, operation_id, step, "undone")
        await entry.tell(conn, target)
        return True


async def _check(conn: asyncpg.Connection, target: Target, op: Op, ddl: Ddl[Any]) -> None:
    check = ddl.check(op, target) if ddl.check else None
    if check is not None:
        fault = check.fault(await conn.fetchval(*_call(check.count)), op.pointer)
        if fault:
            raise check.error(fault.detail, (fault,), code=fault.code)


def _call(sql: Sql) -> tuple[Any, ...]:
    return (sql.text, *sql.args)
