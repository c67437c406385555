"""`text`: one line or a few, short enough to be sorted, compared and unique."""

from typing import Annotated, Any

from pydantic import Field, StrictInt, StringConstraints

from core.schema.types import casting
from core.schema.types.base import TEXT, TEXTUAL, UNIQUE_MAX_CHARS, Change, FieldType, Options
from core.schema.types.casting import Casts, Mode


class TextOptions(Options):
    """How long a value may be."""

    max_length: Annotated[StrictInt, Field(ge=1, le=2_000)] = 500


class Text(FieldType[TextOptions]):
    """Text of at most `max_length` characters."""

    name = "text"
    cast = "text"
    operators = TEXTUAL
    options = TextOptions

    def storage(self, options: TextOptions) -> str:
        """Text without a modifier, so that a longer limit changes no column."""
        return TEXT

    def annotation(self, options: TextOptions) -> Any:
        """A string without NUL, which PostgreSQL cannot hold."""
        return Annotated[str, StringConstraints(max_length=options.max_length, pattern=r"^[^\x00]*$")]

    def casts(self, value: Any, options: TextOptions, mode: Mode) -> Casts:
        """Leniently a number, true or false, as JSON writes it; nothing is cut off."""
        return casting.texts(value, mode)

    def change(self, old: TextOptions, new: TextOptions) -> Change:
        """A longer limit loses nothing; a shorter one might."""
        if old == new:
            return Change.SAME
        return Change.WIDER if new.max_length > old.max_length else Change.REFUSED

    def longest(self, options: TextOptions) -> int:
        """The limit."""
        return options.max_length

    def room(self, options: TextOptions) -> int:
        """The limit."""
        return options.max_length

    def why_not_unique(self, options: TextOptions) -> str | None:
        """An index holds only so much."""
        if options.max_length > UNIQUE_MAX_CHARS:
            return f"a unique text has at most {UNIQUE_MAX_CHARS} characters: set max_length"
        return None
