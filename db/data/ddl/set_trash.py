"""Keep a table's deleted records for another time: the change log holds them, and nothing of it changes."""

from core.schema.ops.set_trash import SetTrash
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: SetTrash, target: Target) -> list[Sql]:
    """Return what sets the new time."""
    return [metadata.set_trash(target, op.table_id, op.new_days)]


def down(op: SetTrash, target: Target) -> list[Sql]:
    """Return what sets the old time again."""
    return [metadata.set_trash(target, op.table_id, op.old_days)]


DDL = Ddl(SetTrash, up, down)
