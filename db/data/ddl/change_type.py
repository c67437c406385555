"""Turn a field into a type that holds all its values."""

from core.schema.ops.change_type import ChangeType
from db.data.ddl import metadata
from db.data.ddl.base import Check, Ddl, Sql, Target
from db.data.ddl.index_field import drop
from db.data.ddl.retype import retype, small_enough


def up(op: ChangeType, target: Target) -> list[Sql]:
    """Return what turns it; an index that the new type has too is turned with the column."""
    return [
        *([drop(target, op.field_id)] if op.drops_index() else []),
        *retype(target, op.table_id, op.field_id, op.storage()),
        metadata.set_type(target, op.field_id, op.new_type, op.new_options),
        metadata.touch(target, op.table_id),
    ]


def check(op: ChangeType, target: Target) -> Check | None:
    """Return the count of records, where all of them are written again."""
    return small_enough(target, op.table_id, op.table, op.field) if op.rewrites() else None


DDL = Ddl(ChangeType, up, check=check, timeout_s=60)
