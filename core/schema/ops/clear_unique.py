"""The same value may stand in two records again."""

from typing import Literal

from core.schema.ops.base import FieldOp, Lock, Phase, change_field
from core.schema.spec import BaseSpec


class ClearUnique(FieldOp):
    """Drop a field's uniqueness and the index behind it."""

    kind: Literal["clear_unique"] = "clear_unique"

    phase = Phase.LOOSEN
    reversible = False
    lock = Lock.MOMENT

    def label(self) -> str:
        """Say what may repeat."""
        return f"Let values of the field {self.field!r} of {self.table!r} repeat"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """Not unique."""
        return change_field(spec, self.table_id, self.field_id, unique=False)
