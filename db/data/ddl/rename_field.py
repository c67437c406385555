"""Give a field another name: its column is made of its id and stays."""

from core.schema.ops.rename_field import RenameField
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: RenameField, target: Target) -> list[Sql]:
    """Return what gives it the new name."""
    return [
        metadata.set_column(target, op.field_id, "name", op.new_name),
        metadata.touch(target, op.table_id),
    ]


def down(op: RenameField, target: Target) -> list[Sql]:
    """Return what gives it the old name back."""
    return [metadata.set_column(target, op.field_id, "name", op.field), metadata.touch(target, op.table_id)]


DDL = Ddl(RenameField, up, down)
