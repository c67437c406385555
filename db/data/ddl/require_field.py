"""NOT NULL for what is written from now on: NOT VALID, so that nothing is read under the lock."""

from core.schema.ops.require_field import RequireField
from db.data import names
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: RequireField, target: Target) -> list[Sql]:
    """Return what requires it."""
    table, name = names.table(target.tenant_id, op.table_id), names.quoted(names.required_name(op.field_id))
    return [
        Sql(f"alter table {table} add constraint {name} not null {names.column(op.field_id)} not valid"),
        metadata.set_column(target, op.field_id, "is_required", True),
        metadata.touch(target, op.table_id),
    ]


def down(op: RequireField, target: Target) -> list[Sql]:
    """Return what makes it optional again."""
    table, name = names.table(target.tenant_id, op.table_id), names.quoted(names.required_name(op.field_id))
    return [
        Sql(f"alter table {table} drop constraint {name}"),
        metadata.set_column(target, op.field_id, "is_required", False),
        metadata.touch(target, op.table_id),
    ]


DDL = Ddl(RequireField, up, down)
