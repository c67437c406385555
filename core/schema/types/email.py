"""`email`: an address as HTML forms understand it."""

from typing import Any

from core.schema.types import casting
from core.schema.types.base import Options
from core.schema.types.casting import Casts, Mode
from core.schema.types.patterned import Patterned

_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
# The HTML standard's expression, with at least one dot in the domain.
_PATTERN = rf"^[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})+$"


class Email(Patterned):
    """An e-mail address of at most 254 characters; kept as it was written."""

    name = "email"
    max_chars = 254  # what SMTP allows
    pattern = _PATTERN
    format = "email"

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """Leniently without space around it or `mailto:` before it."""
        yield from casting.trimmed(value, mode)
        if mode is Mode.LENIENT and isinstance(value, str) and value.strip()[:7].lower() == "mailto:":
            yield value.strip()[7:], "mailto"
