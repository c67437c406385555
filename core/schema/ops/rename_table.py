"""Another name, or another name to display, for a table: metadata only."""

from typing import Literal

from core.schema.ops.base import Op, Phase, change_table
from core.schema.spec import BaseSpec


class RenameTable(Op):
    """Rename a table."""

    kind: Literal["rename_table"] = "rename_table"
    table_id: str
    old_name: str
    new_name: str
    old_display_name: str | None
    new_display_name: str | None

    phase = Phase.RENAME

    @property
    def subject(self) -> str:
        """The table."""
        return self.table_id

    def label(self) -> str:
        """Say what it was called and will be."""
        if self.old_name == self.new_name:
            return f"Display the table {self.new_name!r} as {self.new_display_name or self.new_name!r}"
        return f"Rename the table {self.old_name!r} to {self.new_name!r}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The new names."""
        return _named(spec, self.table_id, self.new_name, self.new_display_name)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """The old names."""
        return _named(spec, self.table_id, self.old_name, self.old_display_name)


def _named(spec: BaseSpec, table_id: str, name: str, display_name: str | None) -> BaseSpec:
    new = {"name": name, "display_name": display_name}
    return change_table(spec, table_id, lambda table: table.model_copy(update=new))
