"""`currency`: an amount of money, counted in the smallest units of its currency."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from core.schema.closed import nearest
from core.schema.types import casting, iso_4217
from core.schema.types.base import FieldType, Options
from core.schema.types.casting import Casts, Mode

_MIN, _MAX = -(2**63), 2**63 - 1
_SYMBOLS = {"EUR": "\u20ac", "USD": "$", "GBP": "\u00a3", "JPY": "\u00a5", "INR": "\u20b9", "KRW": "\u20a9"}
_MARKED = re.compile(r"([+-]?)(\D{0,4}?)[ \u00a0\u202f]?([+-]?\.?[0-9].*?)[ \u00a0\u202f]?([^0-9.]{0,3})")


def _known(code: str) -> str:
    if code not in iso_4217.MINOR_DIGITS:
        raise ValueError(nearest("currency", code, iso_4217.MINOR_DIGITS))
    return code


class CurrencyOptions(Options):
    """The currency of every value of the field, as its ISO 4217 code."""

    code: Annotated[str, Field(min_length=3, max_length=3), AfterValidator(_known)]

    @property
    def minor_digits(self) -> int:
        """How many digits its smallest unit has after the point: 2 for EUR, 0 for JPY."""
        return iso_4217.MINOR_DIGITS[self.code]


class Currency(FieldType[CurrencyOptions]):
    """A whole number of the smallest units: 1250 is 12.50 EUR, or 1250 JPY. Nothing is ever rounded."""

    name = "currency"
    cast = "bigint"
    quoted = False
    options = CurrencyOptions

    def storage(self, options: CurrencyOptions) -> str:
        """64 bits."""
        return "bigint"

    def annotation(self, options: CurrencyOptions) -> Any:
        """An integer; the code stands in the field's options and in the schema's words."""
        unit = "whole" if options.minor_digits == 0 else f"1/{10**options.minor_digits}"
        schema = {
            "type": "integer",
            "minimum": _MIN,
            "maximum": _MAX,
            "description": f"{options.code}, in {unit} units",
        }
        return Annotated[int, Field(ge=_MIN, le=_MAX), WithJsonSchema(schema)]

    def casts(self, value: Any, options: CurrencyOptions, mode: Mode) -> Casts:
        """Leniently a text as people write money: `12.50`, `\u20ac 1,250`, `12.50 EUR`; `12` is twelve whole units.

        Strictly nothing: a text may mean either unit. A number with a fraction may too, and is refused in every mode.
        """
        if mode is not Mode.LENIENT or not isinstance(value, str):
            return
        found = _amount(value.strip(), options.code)
        if (
            found is not None
            and (count := casting.whole(casting.shifted(found, options.minor_digits))) is not None
        ):
            yield count, "money_from_text"


def _amount(text: str, code: str) -> Decimal | None:
    if len(text) > 100 or (found := _MARKED.fullmatch(text.replace("\u2212", "-"))) is None:
        return None
    sign, before, digits, after = found.groups()
    marks = [mark.upper() for mark in (before, after) if mark]
    if len(marks) > 1 or any(mark not in (code, _SYMBOLS.get(code)) for mark in marks):
        return None
    return casting.loose(sign + digits)
