"""`phone`: a number that can be called from anywhere."""

import re
from typing import Any

from core.schema.types.base import Options
from core.schema.types.casting import Casts, Mode
from core.schema.types.patterned import Patterned

_SPACED = re.compile(r"\+[0-9]+(?:[ .-][0-9]+){0,14}")
_LOOSE = re.compile(r"(?:tel:)?(?:\+|00)(?=[1-9])[0-9 ()./\u00a0\u2010-\u2013-]{1,60}", re.IGNORECASE)


class Phone(Patterned):
    """A telephone number in E.164: a plus, the country's code, at most 15 digits in all."""

    name = "phone"
    max_chars = 16  # the plus and 15 digits
    pattern = r"^\+[1-9][0-9]{1,14}$"
    format = "phone"

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


def _digits(text: str) -> str:
    return "".join(char for char in text if "0" <= char <= "9")
