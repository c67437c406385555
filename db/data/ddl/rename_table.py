"""Give a table other names: the physical one is made of its id and stays."""

from core.schema.ops.rename_table import RenameTable
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: RenameTable, target: Target) -> list[Sql]:
    """Return what gives it the new names."""
    return [metadata.rename_table(target, op.table_id, op.new_name, op.new_display_name)]


def down(op: RenameTable, target: Target) -> list[Sql]:
    """Return what gives it the old names back."""
    return [metadata.rename_table(target, op.table_id, op.old_name, op.old_display_name)]


DDL = Ddl(RenameTable, up, down)
