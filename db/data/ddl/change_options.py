"""Widen a field's options, and its column where the options say how wide that is."""

from core.schema.ops.change_options import ChangeOptions
from db.data.ddl import metadata
from db.data.ddl.base import Check, Ddl, Sql, Target
from db.data.ddl.retype import retype, small_enough


def up(op: ChangeOptions, target: Target) -> list[Sql]:
    """Return what widens it."""
    return [
        *retype(target, op.table_id, op.field_id, op.storage()),
        metadata.set_type(target, op.field_id, op.type, op.new_options),
        metadata.touch(target, op.table_id),
    ]


def check(op: ChangeOptions, target: Target) -> Check | None:
    """Return the count of records, where all of them are written again."""
    return small_enough(target, op.table_id, op.table, op.field) if op.rewrites() else None


DDL = Ddl(ChangeOptions, up, check=check, timeout_s=60)
