"""A view gets another name, kind or definition: metadata only."""

from typing import Literal

from core.schema.ops.base import Op, Phase, change_table
from core.schema.spec import BaseSpec, TableSpec, ViewSpec


class UpdateView(Op):
    """Change a view."""

    kind: Literal["update_view"] = "update_view"
    table_id: str
    table: str
    old: ViewSpec
    new: ViewSpec

    phase = Phase.RENAME

    @property
    def subject(self) -> str:
        """The view."""
        return self.new.key

    def label(self) -> str:
        """Say what changes."""
        if self.old.name != self.new.name:
            return f"Rename the view {self.old.name!r} of {self.table!r} to {self.new.name!r}"
        return f"Change the view {self.new.name!r} of {self.table!r}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The new view."""
        return _with(spec, self.table_id, self.new)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """The old view."""
        return _with(spec, self.table_id, self.old)


def _with(spec: BaseSpec, table_id: str, view: ViewSpec) -> BaseSpec:
    def change(table: TableSpec) -> TableSpec:
        table.view(view.key)
        return table.model_copy(update={"views": tuple(view if v.id == view.id else v for v in table.views)})

    return change_table(spec, table_id, change)
