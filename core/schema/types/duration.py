"""`duration`: a length of time in seconds."""

import re
from decimal import Decimal
from typing import Any

from core.schema.types import casting
from core.schema.types.base import Options
from core.schema.types.casting import Casts, Mode
from core.schema.types.number import Decimals

_PRECISION, _SCALE = 15, 3
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,6})?"
# Without months and years, which have no length of their own.
_ISO = re.compile(
    rf"(-?)P(?=[0-9T])(?:({_NUMBER})W)?(?:({_NUMBER})D)?(?:T(?=[0-9])(?:({_NUMBER})H)?(?:({_NUMBER})M)?(?:({_NUMBER})S)?)?"
)
_CLOCK = re.compile(r"(-?)([0-9]{1,9}):([0-5]?[0-9]):([0-5]?[0-9](?:\.[0-9]{1,6})?)")
_WORDS = re.compile(
    rf"(-?)(?:({_NUMBER}) ?w(?:eeks?)? ?)?(?:({_NUMBER}) ?d(?:ays?)? ?)?(?:({_NUMBER}) ?h(?:ours?|rs?)? ?)?"
    rf"(?:({_NUMBER}) ?m(?:in(?:ute)?s?)? ?)?(?:({_NUMBER}) ?s(?:ec(?:ond)?s?)?)?"
)
_SECONDS = (604_800, 86_400, 3_600, 60, 1)


class Duration(Decimals[Options]):
    """Seconds, exact to the millisecond, of either sign: 5400 is an hour and a half."""

    name = "duration"
    options = Options

    def size(self, options: Options) -> tuple[int, int]:
        """Twelve digits of seconds, which is 31,000 years, and three after the point."""
        return _PRECISION, _SCALE

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """Seconds in quotes; ISO 8601 (`PT1H30M`) with days of 24 hours; leniently `1:30:00` and `1h 30m`.

        `1:30` is refused: it may be minutes or hours.
        """
        yield from casting.decimals(value, mode)
        if not isinstance(value, str):
            return
        if (found := _ISO.fullmatch(value)) is not None:
            yield _seconds(found.groups()), "iso_8601"
        if mode is Mode.LENIENT:
            text = value.strip().lower()
            if (found := _ISO.fullmatch(text.upper())) is not None:
                yield _seconds(found.groups()), "iso_8601"
            if (found := _CLOCK.fullmatch(text)) is not None:
                sign, *parts = found.groups()
                yield _seconds((sign, None, None, *parts)), "clock"
            if any(char.isdigit() for char in text) and (found := _WORDS.fullmatch(text)) is not None:
                yield _seconds(found.groups()), "units"


def _seconds(parts: tuple[str | None, ...]) -> Decimal:
    sign, *counts = parts
    total = sum(
        (Decimal(count) * unit for count, unit in zip(counts, _SECONDS, strict=True) if count), Decimal(0)
    )
    return -total if sign else total
