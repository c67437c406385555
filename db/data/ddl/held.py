"""Undoing a step only as long as nothing would be dropped that records hold."""

# ruff: noqa: S608  (names are made of ids)

import asyncpg

from core.ids import Ulid
from core.schema.ops import Op
from core.schema.ops.add_field import AddField
from core.schema.ops.create_table import CreateTable
from db.data import names
from db.data.ddl import entry, ledger
from db.data.ddl.apply import undo_step
from db.data.ddl.base import Target


async def holds(conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int, op: Op) -> bool:
    """Tell whether a step made what records hold values in by now."""
    if (found := _held(op, target)) is None:
        return False
    async with entry.owner(conn, target):
        done = await ledger.state_of(conn, target, operation_id, step) == "done"
        return done and bool(await conn.fetchval(found))


async def undo_unless_held(
    conn: asyncpg.Connection, target: Target, operation_id: Ulid, step: int, op: Op
) -> bool:
    """Undo one step and answer True, or False, with nothing changed, where records hold values in what it made."""
    if _held(op, target) is None:
        await undo_step(conn, target, operation_id, step, op)
        return True
    # Without writers, so that none comes between the look and the drop.
    async with entry.owner(conn, target, alone=True):
        if await holds(conn, target, operation_id, step, op):
            return False
        await undo_step(conn, target, operation_id, step, op)
        return True


def _held(op: Op, target: Target) -> str | None:
    if isinstance(op, CreateTable):
        return f"select exists (select from {names.table(target.tenant_id, op.table.key)})"
    # Numbers and what is computed can be made again.
    if isinstance(op, AddField) and op.field.kind.source is None and not op.field.kind.numbered:
        table, column = names.table(target.tenant_id, op.table_id), names.column(op.field.key)
        return f"select exists (select from {table} where {column} is not null)"
    return None
