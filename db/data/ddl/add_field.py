"""Add a column: no default, so that no row is written; PostgreSQL refuses a required one beside any row."""

# ruff: noqa: S608  (names are made of ids)

from core.schema.ops.add_field import AddField
from db.data import names
from db.data.ddl import metadata, pairs
from db.data.ddl.base import Check, Ddl, Sql, Target, records
from db.data.ddl.create_table import column, identity, unique, usage
from db.data.ddl.retype import small_enough


def up(op: AddField, target: Target) -> list[Sql]:
    """Return what adds it."""
    return [
        *_column(op, target),
        metadata.add_fields(target, op.table_id, [op.field]),
        metadata.touch(target, op.table_id),
    ]


def down(op: AddField, target: Target) -> list[Sql]:
    """Return what takes it away again."""
    table = names.table(target.tenant_id, op.table_id)
    column = [Sql(f"alter table {table} drop column {names.column(op.field.key)}")]
    return [
        *(pairs.unmade(target, op.table_id, op.field.key) if op.field.kind.paired else []),
        *(column if op.field.kind.source is None else []),
        metadata.remove(target, "fields", op.field.key),
        metadata.touch(target, op.table_id),
    ]


def check(op: AddField, target: Target) -> Check | None:
    """Return the count of records that would lack a required value, or that would be numbered."""
    if op.field.kind.numbered:
        return small_enough(target, op.table_id, op.table, None)
    if not op.field.required:
        return None
    return Check(
        Sql(f"select count(*) from {names.table(target.tenant_id, op.table_id)}"),
        "values_missing",
        lambda found: (
            f"{op.table!r} has {records(found)}, which would have no value in the required field"
            f" {op.field.name!r}: add it as optional, fill it, then make it required"
        ),
    )


def _column(op: AddField, target: Target) -> list[Sql]:
    table = names.table(target.tenant_id, op.table_id)
    if op.field.kind.source is not None:
        return []
    if op.field.kind.numbered:
        return _numbered(target, table, op.field.key)
    added = Sql(f"alter table {table} add column {column(target, op.field)}")
    return [added, *(pairs.made(target, op.table_id, op.field.key) if op.field.kind.paired else [])]


def _numbered(target: Target, table: str, field_id: str) -> list[Sql]:
    """Number the records that are there in the order of their ids, which is that of creation, and go on from there.

    No record changes by it, so nothing is logged; a default of nextval would number them as they lie on the disk.
    """
    column, sequence = names.column(field_id), names.sequence(target.tenant_id, field_id)
    return [
        Sql(f"alter table {table} disable trigger log_update, add column {column} bigint"),
        Sql(
            f"update {table} r set {column} = n.nth"
            f" from (select id, row_number() over (order by id) as nth from {table}) n where n.id = r.id"
        ),
        Sql(
            f"alter table {table} enable trigger log_update,"
            f" add constraint {names.quoted(names.required_name(field_id))} not null {column}"
        ),
        Sql(f"alter table {table} alter column {column} add {identity(target, field_id)}"),
        Sql(f"select setval('{sequence}', (select coalesce(max({column}), 0) + 1 from {table}), false)"),
        Sql(unique(table, field_id)),
        usage(target, field_id),
    ]


DDL = Ddl(AddField, up, down, check)
