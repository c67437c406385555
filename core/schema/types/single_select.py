"""`single_select`: one of the choices."""

from typing import Any, Literal

from core.schema.types import choices
from core.schema.types.base import TEXT, TEXTUAL, Change, FieldType
from core.schema.types.casting import Casts, Mode


class SingleSelect(FieldType[choices.ChoiceOptions]):
    """The name of one choice."""

    name = "single_select"
    cast = "text"
    operators = TEXTUAL
    options = choices.ChoiceOptions

    def storage(self, options: choices.ChoiceOptions) -> str:
        """The name itself; see `Choice`."""
        return TEXT

    def annotation(self, options: choices.ChoiceOptions) -> Any:
        """One of the names."""
        return Literal[options.names]

    def casts(self, value: Any, options: choices.ChoiceOptions, mode: Mode) -> Casts:
        """Leniently a choice whatever its case; no choice is ever added."""
        return choices.named(value, options, mode)

    def change(self, old: choices.ChoiceOptions, new: choices.ChoiceOptions) -> Change:
        """More choices lose nothing; one less is allowed once no record holds it."""
        return choices.change(old, new)

    def longest(self, options: choices.ChoiceOptions) -> int:
        """The longest name."""
        return max(map(len, options.names))
