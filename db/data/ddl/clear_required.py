"""Let a field be empty again."""

from core.schema.ops.clear_required import ClearRequired
from db.data import names
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: ClearRequired, target: Target) -> list[Sql]:
    """Return what drops the constraint."""
    table, name = names.table(target.tenant_id, op.table_id), names.quoted(names.required_name(op.field_id))
    return [
        Sql(f"alter table {table} drop constraint {name}"),
        metadata.set_column(target, op.field_id, "is_required", False),
        metadata.touch(target, op.table_id),
    ]


DDL = Ddl(ClearRequired, up)
