"""Add a column: no default, so that no row is written; PostgreSQL refuses a required one beside any row."""

from core.schema.ops.add_field import AddField
from db.data import names
from db.data.ddl import metadata
from db.data.ddl.base import Check, Ddl, Sql, Target, records
from db.data.ddl.create_table import column


def up(op: AddField, target: Target) -> list[Sql]:
    """Return what adds it."""
    return [
        Sql(f"alter table {names.table(target.tenant_id, op.table_id)} add column {column(op.field)}"),
        metadata.add_fields(target, op.table_id, [op.field]),
        metadata.touch(target, op.table_id),
    ]


def down(op: AddField, target: Target) -> list[Sql]:
    """Return what takes it away again."""
    table = names.table(target.tenant_id, op.table_id)
    return [
        Sql(f"alter table {table} drop column {names.column(op.field.key)}"),
        metadata.remove(target, "fields", op.field.key),
        metadata.touch(target, op.table_id),
    ]


def check(op: AddField, target: Target) -> Check | None:
    """Return the count of records that would lack a required value."""
    if not op.field.required:
        return None
    return Check(
        Sql(f"select count(*) from {names.table(target.tenant_id, op.table_id)}"),  # noqa: S608
        "values_missing",
        lambda found: (
            f"{op.table!r} has {records(found)}, which would have no value in the required field"
            f" {op.field.name!r}: add it as optional, fill it, then make it required"
        ),
    )


DDL = Ddl(AddField, up, down, check)
