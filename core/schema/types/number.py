"""`number`: decimals, exact to the last digit; and what other exact types share."""

from abc import abstractmethod
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StrictInt, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from core.schema.types import casting
from core.schema.types.base import Change, FieldType, O, Options
from core.schema.types.casting import Casts, Mode

# Powers of ten up to here are exact in binary: what the check lets through never rounds up to a digit more.
_MAX_WHOLE = 22
_FLOAT_CHARS = 17
"""A number of up to 15 digits, with its point, is shorter; a float holds each of them."""


class NumberOptions(Options):
    """How many digits a value may have in all, and how many of them after the point."""

    precision: Annotated[StrictInt, Field(ge=1, le=38)] = 25
    scale: Annotated[StrictInt, Field(ge=0, le=20)] = 6

    @property
    def whole(self) -> int:
        """How many digits may stand before the point."""
        return self.precision - self.scale

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not 0 <= self.whole <= _MAX_WHOLE:
            raise ValueError(f"precision minus scale must be from 0 to {_MAX_WHOLE}")
        return self


def _short(value: Decimal) -> Decimal:
    """Return `value` without the zeros after its last digit; `normalize` would round it to 28 digits."""
    sign, digits, exponent = value.as_tuple()
    if not value or not isinstance(exponent, int):
        return Decimal(0)
    last = len(digits)
    while exponent < 0 and digits[last - 1] == 0:
        last, exponent = last - 1, exponent + 1
    return Decimal((sign, digits[:last], exponent))


class Decimals(FieldType[O]):
    """A decimal number; `size` says how many digits it has."""

    cast = "numeric"
    quoted = False
    doubtful = (rb":\s*+-?+[0-9](?:[0-9]*+(?:\.[0-9]++)?+[eE]|(?=[0-9.]{%d})[0-9]*+\.)" % (_FLOAT_CHARS - 1),)

    @abstractmethod
    def size(self, options: O) -> tuple[int, int]:
        """Return how many digits a value may have in all, and how many of them after the point."""

    def storage(self, options: O) -> str:
        """A numeric that PostgreSQL itself holds to the same digits."""
        precision, scale = self.size(options)
        return f"numeric({precision},{scale})"

    def annotation(self, options: O) -> Any:
        """A finite JSON number whose digits fit: what has more of them is refused, never rounded."""
        precision, scale = self.size(options)
        bound = 10 ** (precision - scale)

        def exact(value: Any) -> Any:
            if type(value) in (int, float):
                return Decimal(repr(value))
            # Not all that Python reads as a decimal is one for PostgreSQL: full-width digits, for example.
            if isinstance(value, str):
                raise ValueError("a number is written without quotes")
            if isinstance(value, Decimal):
                if not value.is_finite():
                    raise ValueError("a number with too many digits")
                value = _short(value)
                # Here too, because pydantic counts in 28 digits.
                if -int(value.as_tuple().exponent) > scale:
                    raise PydanticCustomError(
                        "decimal_max_places", "at most {scale} digits after the point", {"scale": scale}
                    )
            return value

        return Annotated[
            Decimal,
            Field(max_digits=precision, decimal_places=scale, allow_inf_nan=False),
            BeforeValidator(exact),
            WithJsonSchema({"type": "number", "exclusiveMinimum": -bound, "exclusiveMaximum": bound}),
        ]

    def casts(self, value: Any, options: O, mode: Mode) -> Casts:
        """A number in quotes; no digit is ever rounded away."""
        return casting.decimals(value, mode)


class Number(Decimals[NumberOptions]):
    """A decimal number of `precision` digits, `scale` of them after the point."""

    name = "number"
    options = NumberOptions

    def size(self, options: NumberOptions) -> tuple[int, int]:
        """As the options say."""
        return options.precision, options.scale

    def change(self, old: NumberOptions, new: NumberOptions) -> Change:
        """More digits on either side lose nothing; fewer might."""
        if old == new:
            return Change.SAME
        return Change.WIDER if new.whole >= old.whole and new.scale >= old.scale else Change.REFUSED

    def rewrites(self, old: NumberOptions, new: NumberOptions) -> bool:
        """PostgreSQL keeps the rows as they are while the digits after the point stay."""
        return old.scale != new.scale
