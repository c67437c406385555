"""Another order of tables, fields or views: metadata only."""

from typing import Literal

from core.schema.ops.base import Op, Phase, change_table
from core.schema.spec import BaseSpec, TableSpec


class Arrange(Op):
    """Put the tables of the base, or the fields or views of one table, in another order."""

    kind: Literal["arrange"] = "arrange"
    what: Literal["tables", "fields", "views"]
    table_id: str | None = None
    table: str | None = None
    before: tuple[str, ...]
    after: tuple[str, ...]

    phase = Phase.ARRANGE

    @property
    def subject(self) -> str:
        """The table whose parts are arranged, or the first of the tables."""
        return self.table_id or self.after[0]

    def label(self) -> str:
        """Say what is arranged."""
        return f"Arrange the {self.what} of {repr(self.table) if self.table else 'the base'}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The new order."""
        return self._arranged(spec, self.after)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """The old order."""
        return self._arranged(spec, self.before)

    def _arranged(self, spec: BaseSpec, order: tuple[str, ...]) -> BaseSpec:
        if self.table_id is None:
            return spec.model_copy(update={"tables": tuple(spec.table(key) for key in order)})

        def change(table: TableSpec) -> TableSpec:
            find = table.field if self.what == "fields" else table.view
            return table.model_copy(update={self.what: tuple(find(key) for key in order)})

        return change_table(spec, self.table_id, change)
