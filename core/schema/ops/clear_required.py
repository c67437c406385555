"""A field may be left empty again."""

from typing import Literal

from core.schema.ops.base import FieldOp, Lock, Phase, change_field
from core.schema.spec import BaseSpec


class ClearRequired(FieldOp):
    """Make a required field optional."""

    kind: Literal["clear_required"] = "clear_required"

    phase = Phase.LOOSEN
    reversible = False
    lock = Lock.MOMENT

    def label(self) -> str:
        """Say what becomes optional."""
        return f"Let the field {self.field!r} of {self.table!r} be empty"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """Optional."""
        return change_field(spec, self.table_id, self.field_id, required=False)
