"""`number`: decimals, exact to the last digit."""

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StrictInt, WithJsonSchema, model_validator

from core.schema.types.base import Change, FieldType, Options

# Powers of ten up to here are exact in binary: what the check lets through never rounds up to a digit more.
_MAX_WHOLE = 22


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


def _exact(value: Any) -> Any:
    # Not all that Python reads as a decimal is one for PostgreSQL: full-width digits, for example.
    if isinstance(value, str):
        raise ValueError("a number is written without quotes")
    return Decimal(repr(value)) if type(value) in (int, float) else value


class Number(FieldType[NumberOptions]):
    """A decimal number of `precision` digits, `scale` of them after the point."""

    name = "number"
    cast = "numeric"
    quoted = False
    options = NumberOptions

    def storage(self, options: NumberOptions) -> str:
        """A numeric that PostgreSQL itself holds to the same digits."""
        return f"numeric({options.precision},{options.scale})"

    def annotation(self, options: NumberOptions) -> Any:
        """A finite JSON number whose digits fit."""
        bound = 10**options.whole
        return Annotated[
            Decimal,
            Field(max_digits=options.precision, decimal_places=options.scale, allow_inf_nan=False),
            BeforeValidator(_exact),
            WithJsonSchema({"type": "number", "exclusiveMinimum": -bound, "exclusiveMaximum": bound}),
        ]

    def change(self, old: NumberOptions, new: NumberOptions) -> Change:
        """More digits on either side lose nothing; fewer might."""
        if old == new:
            return Change.SAME
        return Change.WIDER if new.whole >= old.whole and new.scale >= old.scale else Change.REFUSED

    def rewrites(self, old: NumberOptions, new: NumberOptions) -> bool:
        """PostgreSQL keeps the rows as they are while the digits after the point stay."""
        return old.scale != new.scale
