"""Tell of a view's new name, kind or definition."""

from core.schema.ops.update_view import UpdateView
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: UpdateView, target: Target) -> list[Sql]:
    """Return what changes it."""
    return [metadata.set_view(target, op.new), metadata.touch(target, op.table_id)]


def down(op: UpdateView, target: Target) -> list[Sql]:
    """Return what changes it back."""
    return [metadata.set_view(target, op.old), metadata.touch(target, op.table_id)]


DDL = Ddl(UpdateView, up, down)
