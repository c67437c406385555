"""A new table with its fields and views; what is required or unique is so from the start."""

from typing import Literal

from core.schema.ops.base import Op, Phase
from core.schema.spec import BaseSpec, TableSpec


class CreateTable(Op):
    """Make a table."""

    kind: Literal["create_table"] = "create_table"
    table: TableSpec

    phase = Phase.CREATE

    @property
    def subject(self) -> str:
        """The table."""
        return self.table.key

    def label(self) -> str:
        """Say what is made."""
        count = len(self.table.fields)
        return f"Create the table {self.table.name!r} with {count} field{'' if count == 1 else 's'}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """One table more."""
        return spec.model_copy(update={"tables": (*spec.tables, self.table)})

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """Without it."""
        return spec.model_copy(update={"tables": tuple(t for t in spec.tables if t.id != self.table.id)})
