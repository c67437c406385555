"""A view goes; the records stay."""

from typing import Literal

from core.schema.ops.base import Op, Phase, change_table
from core.schema.spec import BaseSpec, TableSpec


class DropView(Op):
    """Drop a view.

    It counts as destructive: a spec sent without its views would otherwise drop them all without a word.
    """

    kind: Literal["drop_view"] = "drop_view"
    table_id: str
    table: str
    view_id: str
    view: str

    phase = Phase.DROP_VIEW
    destructive = True
    reversible = False

    @property
    def subject(self) -> str:
        """The view."""
        return self.view_id

    def label(self) -> str:
        """Say what is lost."""
        return f"Drop the view {self.view!r} of {self.table!r}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """Without it."""

        def remove(table: TableSpec) -> TableSpec:
            table.view(self.view_id)
            return table.model_copy(update={"views": tuple(v for v in table.views if v.id != self.view_id)})

        return change_table(spec, self.table_id, remove)
