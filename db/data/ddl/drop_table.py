"""Drop a table; what its records were stays in the change log for as long as that is kept."""

from core.schema.ops.drop_table import DropTable
from db.data import names
from db.data.ddl import metadata, pairs
from db.data.ddl.base import Ddl, Sql, Target


def up(op: DropTable, target: Target) -> list[Sql]:
    """Return what drops it, with its fields and views."""
    return [
        Sql(f"drop table {names.table(target.tenant_id, op.table_id)}"),
        *(pairs.dropped(target, field_id) for field_id in op.links),
        metadata.remove(target, "tables", op.table_id),
    ]


DDL = Ddl(DropTable, up)
