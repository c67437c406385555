"""Look at the records that were there before the field was required."""

from core.schema.ops.validate_required import ValidateRequired
from db.data import names
from db.data.ddl.base import SCAN_TIMEOUT_S, Check, Ddl, Sql, Target, records


def up(op: ValidateRequired, target: Target) -> list[Sql]:
    """Return what looks at them."""
    table, name = names.table(target.tenant_id, op.table_id), names.quoted(names.required_name(op.field_id))
    return [Sql(f"alter table {table} validate constraint {name}")]


def down(op: ValidateRequired, target: Target) -> list[Sql]:
    """Return nothing: require_field's own undo drops the constraint."""
    return []


def check(op: ValidateRequired, target: Target) -> Check:
    """Return the count of records without a value."""
    table, column = names.table(target.tenant_id, op.table_id), names.column(op.field_id)
    return Check(
        Sql(f"select count(*) from {table} where {column} is null"),  # noqa: S608
        "values_missing",
        lambda found: (
            f"{records(found)} of {op.table!r} have no value in {op.field!r}:"
            " fill them, then make it required"
        ),
    )


DDL = Ddl(ValidateRequired, up, down, check, timeout_s=SCAN_TIMEOUT_S)
