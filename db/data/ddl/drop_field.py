"""Drop a column, with the constraints and indexes on it; no row is written."""

from core.schema.ops.drop_field import DropField
from db.data import names
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: DropField, target: Target) -> list[Sql]:
    """Return what drops it."""
    table = names.table(target.tenant_id, op.table_id)
    return [
        Sql(f"alter table {table} drop column {names.column(op.field_id)}"),
        metadata.remove(target, "fields", op.field_id),
        metadata.touch(target, op.table_id),
    ]


DDL = Ddl(DropField, up)
