"""Drop a column, with the constraints, indexes and the sequence that belong to it; no row is written."""

from core.schema.ops.drop_field import DropField
from db.data import names
from db.data.ddl import metadata, pairs
from db.data.ddl.base import Ddl, Sql, Target


def up(op: DropField, target: Target) -> list[Sql]:
    """Return what drops it."""
    table = names.table(target.tenant_id, op.table_id)
    column = [Sql(f"alter table {table} drop column {names.column(op.field_id)}")] if op.has_column else []
    return [
        *(pairs.unmade(target, op.table_id, op.field_id) if op.is_link else []),
        *column,
        metadata.remove(target, "fields", op.field_id),
        metadata.touch(target, op.table_id),
    ]


DDL = Ddl(DropField, up)
