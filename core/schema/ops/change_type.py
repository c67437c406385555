"""Another type whose values every present value is one of."""

from typing import Any, Literal

from core.schema.ops.base import FieldOp, Lock, Phase, change_field
from core.schema.spec import BaseSpec
from core.schema.types import TYPES


class ChangeType(FieldOp):
    """Widen a field to another type; nothing is lost."""

    kind: Literal["change_type"] = "change_type"
    old_type: str
    old_options: dict[str, Any]
    new_type: str
    new_options: dict[str, Any]

    phase = Phase.LOOSEN
    reversible = False

    def label(self) -> str:
        """Say from what to what."""
        return f"Turn the field {self.field!r} of {self.table!r} from {self.old_type} to {self.new_type}"

    def storage(self) -> tuple[str, str]:
        """Return the column's type before and after."""
        old, new = TYPES[self.old_type], TYPES[self.new_type]
        return (
            old.storage(old.options.model_validate(self.old_options)),
            new.storage(new.options.model_validate(self.new_options)),
        )

    def rewrites(self) -> bool:
        """Tell whether PostgreSQL writes every row again."""
        old, new = self.storage()
        return old != new

    def drops_index(self) -> bool:
        """Tell whether the field had an index because of its type, and has none any more."""
        return TYPES[self.old_type].indexed and not TYPES[self.new_type].indexed

    def locks(self) -> Lock:
        """Nothing while the column and its index stay."""
        if self.rewrites():
            return Lock.REWRITE
        return Lock.MOMENT if self.drops_index() else Lock.NOTHING

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The new type with its options."""
        new = {"type": self.new_type, "options": self.new_options}
        return change_field(spec, self.table_id, self.field_id, **new)
