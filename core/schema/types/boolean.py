"""`boolean`: yes or no."""

from typing import Any

from core.schema.types.base import EQUALITY, FieldType, Options


class Boolean(FieldType[Options]):
    """True or false."""

    name = "boolean"
    cast = "boolean"
    operators = EQUALITY
    quoted = False
    options = Options

    def storage(self, options: Options) -> str:
        """One byte."""
        return "boolean"

    def annotation(self, options: Options) -> Any:
        """JSON's own true and false."""
        return bool

    def why_not_unique(self, options: Options) -> str:
        """Two records could exist."""
        return "a boolean has two values only"
