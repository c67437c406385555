"""From now on a field must have a value; what is there already is checked by validate_required."""

from typing import Literal

from core.schema.ops.base import FieldOp, Lock, Phase, change_field
from core.schema.spec import BaseSpec


class RequireField(FieldOp):
    """Refuse records without this field's value."""

    kind: Literal["require_field"] = "require_field"

    phase = Phase.TIGHTEN
    lock = Lock.MOMENT

    def label(self) -> str:
        """Say what becomes required."""
        return f"Require the field {self.field!r} of {self.table!r} in new and changed records"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """Required."""
        return change_field(spec, self.table_id, self.field_id, required=True)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """Optional."""
        return change_field(spec, self.table_id, self.field_id, required=False)
