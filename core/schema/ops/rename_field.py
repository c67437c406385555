"""Another name for a field: metadata only."""

from typing import Literal

from core.schema.ops.base import FieldOp, Phase, change_field
from core.schema.spec import BaseSpec


class RenameField(FieldOp):
    """Rename a field, now called `field`, to `new_name`."""

    kind: Literal["rename_field"] = "rename_field"
    new_name: str

    phase = Phase.RENAME

    def label(self) -> str:
        """Say what it was called and will be."""
        return f"Rename the field {self.field!r} of {self.table!r} to {self.new_name!r}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The new name."""
        return change_field(spec, self.table_id, self.field_id, name=self.new_name)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """The old name."""
        return change_field(spec, self.table_id, self.field_id, name=self.field)
