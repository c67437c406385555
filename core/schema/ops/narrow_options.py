"""Choices go that no record holds."""

from typing import Any, Literal

from core.schema.ops.base import FieldOp, Lock, Phase, change_field
from core.schema.spec import BaseSpec
from core.schema.types.choices import ChoiceOptions


class NarrowOptions(FieldOp):
    """Take choices away, or be refused because records hold them."""

    kind: Literal["narrow_options"] = "narrow_options"
    type: str
    old_options: dict[str, Any]
    new_options: dict[str, Any]

    phase = Phase.TIGHTEN
    lock = Lock.FENCE

    def removed(self) -> tuple[str, ...]:
        """Return the names that may no longer be chosen."""
        old, new = (ChoiceOptions.model_validate(options) for options in (self.old_options, self.new_options))
        return old.without(new)

    def label(self) -> str:
        """Say what goes."""
        names = self.removed()
        shown = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return f"Take {shown} from the choices of {self.field!r} of {self.table!r}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The new options."""
        return change_field(spec, self.table_id, self.field_id, options=self.new_options)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """The old options."""
        return change_field(spec, self.table_id, self.field_id, options=self.old_options)
