"""`multi_select`: any of the choices, each at most once."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from core.schema.types import choices
from core.schema.types.base import CHOICES, Change, FieldType
from core.schema.types.casting import Casts, Mode

_MAX_PARTS = 1_000


def _once_each(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("a choice is named twice")
    return names


def _folded(values: list[Any], options: choices.ChoiceOptions, mode: Mode) -> list[str] | None:
    """Return the choices that are named, each once; None where some value names none."""
    if len(values) > _MAX_PARTS:
        return None
    found: dict[str, None] = {}
    for value in values:
        name = next((name for name, _ in choices.named(value, options, mode)), None)
        if name is None:
            return None
        found[name] = None
    return [*found]


class MultiSelect(FieldType[choices.ChoiceOptions]):
    """The names of any of the choices, in the order in which they were sent."""

    name = "multi_select"
    cast = "text[]"
    operators = CHOICES
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

    def casts(self, value: Any, options: choices.ChoiceOptions, mode: Mode) -> Casts:
        """One name is a list of it; leniently commas divide, and neither case nor a name that comes twice matters."""
        if isinstance(value, str):
            yield [value], "one_of_many"
        if mode is not Mode.LENIENT:
            return
        one = _folded([value], options, mode)
        if not isinstance(value, list) and one is not None:
            yield one, "choice_name"
        if isinstance(value, str):
            value = [part for part in value.split(",", _MAX_PARTS) if part.strip()]
        if isinstance(value, list) and (many := _folded(value, options, mode)):
            yield many, "choice_names"

    def change(self, old: choices.ChoiceOptions, new: choices.ChoiceOptions) -> Change:
        """More choices lose nothing; one less is allowed once no record holds it."""
        return choices.change(old, new)

    def why_not_unique(self, options: choices.ChoiceOptions) -> str:
        """Which order would count?"""
        return "a list of choices cannot be unique"
