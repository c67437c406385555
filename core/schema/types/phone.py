"""`phone`: a number that can be called from anywhere."""

import re
from typing import Annotated, Any

from pydantic import StringConstraints, WithJsonSchema

from core.schema.types.base import TEXT, TEXTUAL, FieldType, Options
from core.schema.types.casting import Casts, Mode

_MAX_CHARS = 16
_PATTERN = r"^\+[1-9][0-9]{1,14}$"
_SCHEMA = {"type": "string", "format": "phone", "maxLength": _MAX_CHARS, "pattern": _PATTERN}
_SPACED = re.compile(r"\+[0-9]+(?:[ .-][0-9]+){0,14}")
_LOOSE = re.compile(r"(?:tel:)?(?:\+|00)(?=[1-9])[0-9 ()./\u00a0\u2010-\u2013-]{1,60}", re.IGNORECASE)


class Phone(FieldType[Options]):
    """A telephone number in E.164: a plus, the country's code, at most 15 digits in all."""

    name = "phone"
    cast = "text"
    operators = TEXTUAL
    options = Options

    def storage(self, options: Options) -> str:
        """Text."""
        return TEXT

    def annotation(self, options: Options) -> Any:
        """E.164, whose digits are not looked up: whether anybody answers nobody can check."""
        return Annotated[
            str,
            StringConstraints(max_length=_MAX_CHARS, pattern=_PATTERN),
            WithJsonSchema(_SCHEMA),
        ]

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """Spaces, points and hyphens go; leniently brackets, `tel:`, `00` for the plus and the national `(0)` too.

        Without the country's code a number is refused: nobody knows whose it is.
        """
        if not isinstance(value, str):
            return
        if _SPACED.fullmatch(value):
            yield "+" + _digits(value), "separators"
        if mode is Mode.LENIENT and _LOOSE.fullmatch(text := value.strip()):
            yield "+" + _digits(text.replace("(0)", "")).removeprefix("00"), "separators"

    def longest(self, options: Options) -> int:
        """The plus and 15 digits."""
        return _MAX_CHARS


def _digits(text: str) -> str:
    return "".join(char for char in text if "0" <= char <= "9")
