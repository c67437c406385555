"""A new view of a table: metadata only."""

from typing import Literal

from core.schema.ops.base import Op, Phase, change_table
from core.schema.spec import BaseSpec, TableSpec, ViewSpec


class CreateView(Op):
    """Make a view."""

    kind: Literal["create_view"] = "create_view"
    table_id: str
    table: str
    view: ViewSpec

    phase = Phase.CREATE

    @property
    def subject(self) -> str:
        """The view."""
        return self.view.key

    def label(self) -> str:
        """Say what is made and where."""
        return f"Create the {self.view.kind} view {self.view.name!r} of {self.table!r}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """One view more."""

        def add(table: TableSpec) -> TableSpec:
            return table.model_copy(update={"views": (*table.views, self.view)})

        return change_table(spec, self.table_id, add)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """Without it."""

        def remove(table: TableSpec) -> TableSpec:
            return table.model_copy(update={"views": tuple(v for v in table.views if v.id != self.view.id)})

        return change_table(spec, self.table_id, remove)
