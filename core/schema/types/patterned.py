"""What the types have in common whose values are short texts of one shape."""

from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints, WithJsonSchema

from core.schema.types.base import TEXT, TEXTUAL, FieldType, Options


class Patterned(FieldType[Options]):
    """Text of at most `max_chars` characters that `pattern` matches; kept as it was written."""

    cast = "text"
    operators = TEXTUAL
    options = Options
    max_chars: ClassVar[int]
    pattern: ClassVar[str]
    format: ClassVar[str]
    """What JSON Schema calls the shape."""

    def storage(self, options: Options) -> str:
        """Text."""
        return TEXT

    def annotation(self, options: Options) -> Any:
        """A string of the shape."""
        schema = {
            "type": "string",
            "format": self.format,
            "maxLength": self.max_chars,
            "pattern": self.pattern,
        }
        return Annotated[
            str,
            StringConstraints(max_length=self.max_chars, pattern=self.pattern),
            WithJsonSchema(schema),
        ]

    def longest(self, options: Options) -> int:
        """The bound."""
        return self.max_chars
