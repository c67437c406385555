"""Build the index in the order of a field while reads and writes go on."""

from core.schema.ops.index_field import IndexField
from db.data import names
from db.data.ddl.base import Ddl, Index, Sql, Target
from db.data.ddl.create_table import ordered


def up(op: IndexField, target: Target) -> list[Sql]:
    """Return nothing: the field's type tells of the index."""
    return []


def down(op: IndexField, target: Target) -> list[Sql]:
    """Return what drops the index, finished or not."""
    return [drop(target, op.field_id)]


def drop(target: Target, field_id: str) -> Sql:
    """Return what drops the index, if it is there."""
    index = f"{names.schema(target.tenant_id)}.{names.quoted(names.order_name(field_id))}"
    return Sql(f"drop index if exists {index}")


def index(op: IndexField, target: Target) -> Index:
    """Return the index."""
    table = names.table(target.tenant_id, op.table_id)
    return Index(
        names.schema_name(target.tenant_id),
        names.order_name(op.field_id),
        ordered(table, op.field_id, "create index concurrently"),
    )


DDL = Ddl(IndexField, up, down, index=index)
