"""A table goes, with its records."""

from typing import Literal

from core.schema.ops.base import Lock, Op, Phase
from core.schema.spec import BaseSpec


class DropTable(Op):
    """Drop a table and all its records."""

    kind: Literal["drop_table"] = "drop_table"
    table_id: str
    table: str
    links: tuple[str, ...] = ()
    """The fields of it that are links."""

    phase = Phase.DROP_TABLE
    destructive = True
    reversible = False
    lock = Lock.MOMENT

    @property
    def subject(self) -> str:
        """The table."""
        return self.table_id

    def label(self) -> str:
        """Say what is lost."""
        return f"Drop the table {self.table!r} with all its records"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """Without it."""
        spec.table(self.table_id)
        return spec.model_copy(update={"tables": tuple(t for t in spec.tables if t.id != self.table_id)})
