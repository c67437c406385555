"""Tell of a new view."""

from core.schema.ops.create_view import CreateView
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: CreateView, target: Target) -> list[Sql]:
    """Return what makes it."""
    return [metadata.add_views(target, op.table_id, [op.view]), metadata.touch(target, op.table_id)]


def down(op: CreateView, target: Target) -> list[Sql]:
    """Return what takes it away again."""
    return [metadata.remove(target, "views", op.view.key), metadata.touch(target, op.table_id)]


DDL = Ddl(CreateView, up, down)
