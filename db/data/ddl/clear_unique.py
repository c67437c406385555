"""Drop the index behind a unique field."""

from core.schema.ops.clear_unique import ClearUnique
from db.data import names
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target


def up(op: ClearUnique, target: Target) -> list[Sql]:
    """Return what drops it."""
    index = f"{names.schema(target.tenant_id)}.{names.quoted(names.unique_name(op.field_id))}"
    return [
        Sql(f"drop index {index}"),
        metadata.set_column(target, op.field_id, "is_unique", False),
        metadata.touch(target, op.table_id),
    ]


DDL = Ddl(ClearUnique, up)
