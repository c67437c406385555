"""What the typecasts of several types share: how sure a cast must be, and how numbers are written by people."""

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeAlias

Casts: TypeAlias = Iterator[tuple[Any, str]]
"""What a value may stand for, the likeliest first, each with the name of the rule that says so."""

_MAX_CHARS = 200
_MAX_LITERAL = 20_000
_MAX_EXPONENT = 16_383
"""How many digits after the point a numeric of PostgreSQL may have, also where it is to be rounded."""
_NO_NUMBER = Decimal("NaN")
_MAX_DIGITS = 40
_WRITTEN = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?")
_LOOSE = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:([, \u00a0\u202f'\u2019])[0-9]{3}(?:\1[0-9]{3})*)(?:\.[0-9]+)?")
_SEPARATORS = str.maketrans("", "", ", \u00a0\u202f'\u2019")


class Mode(StrEnum):
    """How far a value that its field refuses may be turned into one that it takes."""

    OFF = "off"
    STRICT = "strict"
    """Only where nothing is lost and nobody could read it otherwise."""
    LENIENT = "lenient"
    """As a person would most likely read it; what has no meaning is still refused."""


def literal(text: str) -> Decimal:
    """Return a JSON number digit by digit; one that PostgreSQL has no room for is not a number at all."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return _NO_NUMBER
    exponent = value.as_tuple().exponent if len(text) <= _MAX_LITERAL else _MAX_LITERAL
    return value if isinstance(exponent, int) and abs(exponent) <= _MAX_EXPONENT else _NO_NUMBER


def written(text: str) -> Decimal | None:
    """Return the number that `text` is in JSON's own spelling."""
    return Decimal(text) if len(text) <= _MAX_CHARS and _WRITTEN.fullmatch(text) else None


def loose(text: str) -> Decimal | None:
    """Return the number that a person may have written as `text`: a point before decimals, digits in groups."""
    plain = text.strip().replace("\u2212", "-")
    if len(plain) > _MAX_CHARS:
        return None
    if _GROUPED.fullmatch(plain):
        return Decimal(plain.translate(_SEPARATORS))
    return Decimal(plain) if _LOOSE.fullmatch(plain) else None


def number(text: str, mode: Mode) -> Decimal | None:
    """Return the number in `text`, as strictly as `mode` says."""
    return written(text) if mode is Mode.STRICT else loose(text)


def shifted(value: Decimal, places: int) -> Decimal:
    """Return `value` with its point moved to the right; arithmetic would round it to 28 digits."""
    sign, digits, exponent = value.as_tuple()
    return Decimal((sign, digits, int(exponent) + places))


def whole(value: Decimal) -> int | None:
    """Return `value` as an integer, where it is one that a column could hold."""
    if not value.is_finite() or value.adjusted() > _MAX_DIGITS or value != value.to_integral_value():
        return None
    return int(value)


def integers(value: Any, mode: Mode) -> Casts:
    """Yield the integer that a text or a number with zeros after the point stands for."""
    if isinstance(value, str):
        found = number(value, mode)
        if found is not None and (count := whole(found)) is not None:
            yield count, "number_from_text"
    elif isinstance(value, Decimal) and (count := whole(value)) is not None:
        yield count, "whole_number"


def decimals(value: Any, mode: Mode) -> Casts:
    """Yield the number that a text stands for."""
    if isinstance(value, str) and (found := number(value, mode)) is not None:
        yield found, "number_from_text"


def texts(value: Any, mode: Mode) -> Casts:
    """Yield how a number or a truth value is written in JSON."""
    if mode is not Mode.LENIENT:
        return
    if isinstance(value, bool):
        yield ("true" if value else "false"), "text_from_boolean"
    elif isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite()):
        yield str(value), "text_from_number"


def trimmed(value: Any, mode: Mode) -> Casts:
    """Yield a text without the space at its ends."""
    if mode is Mode.LENIENT and isinstance(value, str):
        yield value.strip(), "trimmed"
