"""Take choices away that no record holds; the column cannot say so, hence the fence."""

from core.errors import Conflict
from core.schema.ops.narrow_options import NarrowOptions
from core.schema.types import TYPES
from db.data import names
from db.data.ddl import metadata
from db.data.ddl.base import Check, Ddl, Sql, Target, records


def up(op: NarrowOptions, target: Target) -> list[Sql]:
    """Return what takes them away."""
    return [
        metadata.set_type(target, op.field_id, op.type, op.new_options),
        metadata.touch(target, op.table_id),
    ]


def down(op: NarrowOptions, target: Target) -> list[Sql]:
    """Return what puts them back."""
    return [
        metadata.set_type(target, op.field_id, op.type, op.old_options),
        metadata.touch(target, op.table_id),
    ]


def check(op: NarrowOptions, target: Target) -> Check:
    """Return the count of records that hold one of them."""
    table, column = names.table(target.tenant_id, op.table_id), names.column(op.field_id)
    holds = "&&" if TYPES[op.type].cast == "text[]" else "= any"
    return Check(
        Sql(f"select count(*) from {table} where {column} {holds} ($1::text[])", (list(op.removed()),)),  # noqa: S608
        "choices_in_use",
        lambda found: (
            f"{records(found)} of {op.table!r} hold a choice of {op.field!r} that is to go:"
            " change them first, then take the choice away"
        ),
        Conflict,
    )


DDL = Ddl(NarrowOptions, up, down, check, fenced=True)
