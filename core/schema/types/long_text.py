"""`long_text`: prose, too long to be sorted by or unique."""

from typing import Annotated, Any

from pydantic import Field, StrictInt, StringConstraints

from core.schema.types import casting
from core.schema.types.base import PROSE, TEXT, Change, FieldType, Options
from core.schema.types.casting import Casts, Mode


class LongTextOptions(Options):
    """How long a value may be."""

    max_length: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 100_000


class LongText(FieldType[LongTextOptions]):
    """Text of at most `max_length` characters, line breaks included."""

    name = "long_text"
    cast = "text"
    operators = PROSE
    sortable = False  # a cursor carries the sort key
    options = LongTextOptions

    def storage(self, options: LongTextOptions) -> str:
        """Text without a modifier, so that a longer limit changes no column."""
        return TEXT

    def annotation(self, options: LongTextOptions) -> Any:
        """A string without NUL, which PostgreSQL cannot hold."""
        return Annotated[str, StringConstraints(max_length=options.max_length, pattern=r"^[^\x00]*$")]

    def casts(self, value: Any, options: LongTextOptions, mode: Mode) -> Casts:
        """Leniently a number, true or false, as JSON writes it; nothing is cut off."""
        return casting.texts(value, mode)

    def change(self, old: LongTextOptions, new: LongTextOptions) -> Change:
        """A longer limit loses nothing; a shorter one might."""
        if old == new:
            return Change.SAME
        return Change.WIDER if new.max_length > old.max_length else Change.REFUSED

    def longest(self, options: LongTextOptions) -> int:
        """The limit."""
        return options.max_length

    def room(self, options: LongTextOptions) -> int:
        """The limit."""
        return options.max_length

    def why_not_unique(self, options: LongTextOptions) -> str:
        """An index entry has no room for it."""
        return "a long_text is too long for an index: use text"
