"""`email`: an address as HTML forms understand it."""

from typing import Annotated, Any

from pydantic import StringConstraints, WithJsonSchema

from core.schema.types import casting
from core.schema.types.base import TEXT, TEXTUAL, FieldType, Options
from core.schema.types.casting import Casts, Mode

_MAX_CHARS = 254
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
# The HTML standard's expression, with at least one dot in the domain.
_PATTERN = rf"^[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})+$"

_SCHEMA = {"type": "string", "format": "email", "maxLength": _MAX_CHARS, "pattern": _PATTERN}


class Email(FieldType[Options]):
    """An e-mail address of at most 254 characters; kept as it was written."""

    name = "email"
    cast = "text"
    operators = TEXTUAL
    options = Options

    def storage(self, options: Options) -> str:
        """Text."""
        return TEXT

    def annotation(self, options: Options) -> Any:
        """A string of an address's shape."""
        return Annotated[
            str,
            StringConstraints(max_length=_MAX_CHARS, pattern=_PATTERN),
            WithJsonSchema(_SCHEMA),
        ]

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """Leniently without space around it or `mailto:` before it."""
        yield from casting.trimmed(value, mode)
        if mode is Mode.LENIENT and isinstance(value, str) and value.strip()[:7].lower() == "mailto:":
            yield value.strip()[7:], "mailto"

    def longest(self, options: Options) -> int:
        """What SMTP allows."""
        return _MAX_CHARS
