"""No two records with the same value in a field: an index, built while reads and writes go on."""

from typing import Literal

from core.schema.ops.base import FieldOp, Lock, Phase, change_field
from core.schema.spec import BaseSpec


class SetUnique(FieldOp):
    """Make a field unique, or be refused because of duplicates."""

    kind: Literal["set_unique"] = "set_unique"

    phase = Phase.TIGHTEN
    transactional = False
    lock = Lock.ONLINE

    def label(self) -> str:
        """Say what becomes unique."""
        return f"Make the field {self.field!r} of {self.table!r} unique"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """Unique."""
        return change_field(spec, self.table_id, self.field_id, unique=True)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """Not unique."""
        return change_field(spec, self.table_id, self.field_id, unique=False)
