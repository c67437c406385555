"""`date`: a calendar day, without a time or a zone."""

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

from core.schema.types.base import TEMPORAL, FieldType, Options
from core.schema.types.casting import Casts, Mode

_PATTERN = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


_LOOSE = re.compile(r"([0-9]{4})(?:([-/.])([0-9]{1,2})\2([0-9]{1,2})|([0-9]{2})([0-9]{2}))")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)? ?(?:[Zz]|[+-][0-9:]{2,5})?"
)


def _on_the_calendar(text: str) -> str:
    date.fromisoformat(text)
    return text


class Date(FieldType[Options]):
    """A day from 0001-01-01 to 9999-12-31."""

    name = "date"
    cast = "date"
    operators = TEMPORAL
    indexed = True
    options = Options

    def storage(self, options: Options) -> str:
        """PostgreSQL's date."""
        return "date"

    def annotation(self, options: Options) -> Any:
        """Its text in one spelling: pydantic's own date would also take a count of seconds."""
        return Annotated[
            str,
            StringConstraints(pattern=_PATTERN),
            AfterValidator(_on_the_calendar),
            WithJsonSchema({"type": "string", "format": "date"}),
        ]

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """Leniently year, month, day with other marks between them or none, and the day that a moment is written with.

        Strictly nothing: which day a moment is on depends on where one is. `11/24/2026` is refused in every mode,
        because `11/12/2026` could be read in two ways.
        """
        if mode is not Mode.LENIENT or not isinstance(value, str):
            return
        text = value.strip()
        if (found := _LOOSE.fullmatch(text)) is not None:
            year, _, *parts = found.groups()
            month, day = (part for part in parts if part is not None)
            yield f"{year}-{month:0>2}-{day:0>2}", "iso_variant"
        if (found := _MOMENT.fullmatch(text)) is not None:
            yield found.group(1), "day_of_moment"
