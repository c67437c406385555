"""Every record that is there has a value in a required field; reads and writes go on meanwhile."""

from typing import Literal

from core.schema.ops.base import FieldOp, Lock, Phase
from core.schema.spec import BaseSpec


class ValidateRequired(FieldOp):
    """Check the records that are there, or be refused."""

    kind: Literal["validate_required"] = "validate_required"

    phase = Phase.TIGHTEN
    lock = Lock.ONLINE

    def label(self) -> str:
        """Say what is checked."""
        return f"Check that every record of {self.table!r} has a value in {self.field!r}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The same: the requirement stands since require_field."""
        return spec

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """The same."""
        return spec
