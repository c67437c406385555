"""`multi_select`: any of the choices, each at most once."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from core.schema.types import choices
from core.schema.types.base import Change, FieldType, Operator


def _once_each(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("a choice is named twice")
    return names


class MultiSelect(FieldType[choices.ChoiceOptions]):
    """The names of any of the choices, in the order in which they were sent."""

    name = "multi_select"
    cast = "text[]"
    operators = (Operator.IS_NULL,)
    sortable = False
    quoted = False
    options = choices.ChoiceOptions

    def storage(self, options: choices.ChoiceOptions) -> str:
        """The names themselves; see `Choice`."""
        return 'text[] collate "C"'

    def annotation(self, options: choices.ChoiceOptions) -> Any:
        """A list of names."""
        one: Any = Literal[options.names]
        item = {"type": "string", "enum": list(options.names)}
        return Annotated[
            list[one],
            Field(max_length=len(options.names)),
            AfterValidator(_once_each),
            WithJsonSchema({"type": "array", "items": item, "uniqueItems": True}),
        ]

    def change(self, old: choices.ChoiceOptions, new: choices.ChoiceOptions) -> Change:
        """More choices lose nothing; one less is allowed once no record holds it."""
        return choices.change(old, new)

    def why_not_unique(self, options: choices.ChoiceOptions) -> str:
        """Which order would count?"""
        return "a list of choices cannot be unique"
