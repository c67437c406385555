"""`json`: any JSON value, within bounds."""

from collections.abc import Collection
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from core.schema.types.base import FieldType, Operator, Options

MAX_DEPTH = 20
MAX_VALUES = 10_000
_MAX_SCALE = 1_000
"""How many digits after the point: PostgreSQL writes out all that an exponent of few characters stands for."""


def check_json(value: Any) -> Any:
    """Return `value` if PostgreSQL's jsonb can hold it and it is of a sane size; ValueError otherwise."""
    pending: list[tuple[Collection[Any], int]] = [((value,), 0)]
    left = MAX_VALUES
    while pending:
        items, depth = pending.pop()
        if items and depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        for item in items:
            left -= 1
            kind = type(item)
            if kind is str:
                if "\0" in item or not item.isascii():
                    _check_text(item)
            elif kind is dict:
                for key in item:
                    if "\0" in key or not key.isascii():
                        _check_text(key)
                pending.append((item.values(), depth + 1))
            elif kind is list:
                pending.append((item, depth + 1))
            elif kind is float:
                if not isfinite(item):
                    raise ValueError("a number that is not finite")
            elif kind is Decimal:
                _check_decimal(item)
        if left < 0:
            raise ValueError(f"more than {MAX_VALUES} values")
    return value


def _check_decimal(number: Decimal) -> None:
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_MAX_SCALE:
        raise ValueError("a number with too many digits")
    if not isfinite(float(number)):
        raise ValueError("a number that is not finite")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("a NUL character")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("half of a character")


class Json(FieldType[Options]):
    """A JSON value at most 20 deep, of at most 10,000 parts; null is no value at all."""

    name = "json"
    cast = "jsonb"
    operators = (Operator.IS_NULL,)
    sortable = False
    quoted = False
    # Whatever may have an exponent out of bounds, of which a float shows nothing but a zero.
    doubtful = (
        rb"-(?<=[eE]-)0*+(?:[1-9][0-9]{3}|[5-9][0-9]{2})",
        rb"0[eE]\+?+[0-9]{5}",
        rb"\.[0-9]{500}",
    )
    options = Options

    def storage(self, options: Options) -> str:
        """Parsed JSON: key order and repeated keys are not kept."""
        return "jsonb"

    def annotation(self, options: Options) -> Any:
        """Anything that jsonb takes."""
        return Annotated[Any, AfterValidator(check_json), WithJsonSchema({})]

    def why_not_unique(self, options: Options) -> str:
        """An index entry has no room for it."""
        return "a JSON value is too long for an index"
