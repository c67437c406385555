"""`boolean`: yes or no."""

from typing import Any

from core.schema.types.base import EQUALITY, FieldType, Options
from core.schema.types.casting import Casts, Mode

_WRITTEN = {"true": True, "false": False}
_WORDS = (
    _WRITTEN
    | dict.fromkeys(("yes", "y", "on", "1", "t"), True)
    | dict.fromkeys(("no", "n", "off", "0", "f"), False)
)


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

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """`"true"` and `"false"`; leniently yes and no, on and off, 1 and 0 too, whatever their case."""
        if isinstance(value, str):
            found = _WORDS.get(value.strip().lower()) if mode is Mode.LENIENT else _WRITTEN.get(value)
            if found is not None:
                yield found, "boolean_from_text"
        elif mode is Mode.LENIENT and type(value) is int and value in (0, 1):
            yield value == 1, "boolean_from_number"

    def why_not_unique(self, options: Options) -> str:
        """Two records could exist."""
        return "a boolean has two values only"
