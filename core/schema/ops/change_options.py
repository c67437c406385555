"""Options that allow more than before."""

from typing import Any, Literal

from core.schema.ops.base import FieldOp, Lock, Phase, change_field
from core.schema.spec import BaseSpec
from core.schema.types import TYPES


class ChangeOptions(FieldOp):
    """Widen a field's options; every value that is there fits the new ones."""

    kind: Literal["change_options"] = "change_options"
    type: str
    old_options: dict[str, Any]
    new_options: dict[str, Any]

    phase = Phase.LOOSEN
    reversible = False

    def label(self) -> str:
        """Say what changes."""
        return f"Widen the options of the {self.type} field {self.field!r} of {self.table!r}"

    def storage(self) -> tuple[str, str]:
        """Return the column's type before and after."""
        kind = TYPES[self.type]
        old, new = (kind.options.model_validate(options) for options in (self.old_options, self.new_options))
        return kind.storage(old), kind.storage(new)

    def rewrites(self) -> bool:
        """Tell whether PostgreSQL writes every row again."""
        kind = TYPES[self.type]
        old, new = (kind.options.model_validate(options) for options in (self.old_options, self.new_options))
        return kind.rewrites(old, new)

    def locks(self) -> Lock:
        """As much as the column changes."""
        if self.rewrites():
            return Lock.REWRITE
        old, new = self.storage()
        return Lock.NOTHING if old == new else Lock.MOMENT

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The new options."""
        return change_field(spec, self.table_id, self.field_id, options=self.new_options)
