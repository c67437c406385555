"""Build a unique index while reads and writes go on, then tell of it."""

from core.errors import Conflict
from core.schema.ops.set_unique import SetUnique
from db.data import names
from db.data.ddl import metadata
from db.data.ddl.base import Check, Ddl, Index, Sql, Target, records


def up(op: SetUnique, target: Target) -> list[Sql]:
    """Return what tells of it, once the index is valid."""
    return [
        metadata.set_column(target, op.field_id, "is_unique", True),
        metadata.touch(target, op.table_id),
    ]


def down(op: SetUnique, target: Target) -> list[Sql]:
    """Return what drops the index, finished or not."""
    index = f"{names.schema(target.tenant_id)}.{names.quoted(names.unique_name(op.field_id))}"
    return [
        Sql(f"drop index if exists {index}"),
        metadata.set_column(target, op.field_id, "is_unique", False),
        metadata.touch(target, op.table_id),
    ]


def index(op: SetUnique, target: Target) -> Index:
    """Return the index."""
    name, table = names.unique_name(op.field_id), names.table(target.tenant_id, op.table_id)
    return Index(
        names.schema_name(target.tenant_id),
        name,
        f"create unique index concurrently {names.quoted(name)} on {table} ({names.column(op.field_id)})",
    )


def check(op: SetUnique, target: Target) -> Check:
    """Return the count of records whose value another record has too."""
    table, column = names.table(target.tenant_id, op.table_id), names.column(op.field_id)
    return Check(
        Sql(
            f"select coalesce(sum(n), 0)::bigint from (select count(*) as n from {table}"  # noqa: S608
            f" where {column} is not null group by {column} having count(*) > 1) as repeated"
        ),
        "duplicate_values",
        lambda found: (
            f"{records(found)} of {op.table!r} share their value in {op.field!r} with another:"
            " make the values differ, then make the field unique"
        ),
        Conflict,
    )


DDL = Ddl(SetUnique, up, down, check, index=index)
