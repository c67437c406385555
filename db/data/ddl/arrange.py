"""Put tables, fields or views in another order."""

from collections.abc import Sequence

from core.schema.ops.arrange import Arrange
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: Arrange, target: Target) -> list[Sql]:
    """Return what puts them in the new order."""
    return _arranged(op, target, op.after)


def down(op: Arrange, target: Target) -> list[Sql]:
    """Return what puts them in the old order."""
    return _arranged(op, target, op.before)


def _arranged(op: Arrange, target: Target, order: Sequence[str]) -> list[Sql]:
    touched = [metadata.touch(target, op.table_id)] if op.table_id else []
    return [metadata.arrange(target, op.what, order), *touched]


DDL = Ddl(Arrange, up, down)
