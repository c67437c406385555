"""An index in the order of a field, built while reads and writes go on: its type says whether it has one."""

from typing import Literal

from core.schema.ops.base import FieldOp, Lock, Phase
from core.schema.spec import BaseSpec


class IndexField(FieldOp):
    """Index a field that is new, or that is to be of a type whose fields have an index."""

    kind: Literal["index_field"] = "index_field"

    phase = Phase.TIGHTEN
    transactional = False
    lock = Lock.ONLINE

    def label(self) -> str:
        """Say what is indexed."""
        return f"Index the field {self.field!r} of {self.table!r}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The same: the type says it."""
        return spec

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """The same."""
        return spec
