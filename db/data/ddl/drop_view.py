"""Forget a view."""

from core.schema.ops.drop_view import DropView
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: DropView, target: Target) -> list[Sql]:
    """Return what forgets it."""
    return [metadata.remove(target, "views", op.view_id), metadata.touch(target, op.table_id)]


DDL = Ddl(DropView, up)
