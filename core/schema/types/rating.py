"""`rating`: a few stars out of at most ten."""

from typing import Annotated, Any

from pydantic import Field, StrictInt

from core.schema.types import casting
from core.schema.types.base import Change, FieldType, Options
from core.schema.types.casting import Casts, Mode
from core.schema.types.integer import Integer
from core.schema.types.number import Number


class RatingOptions(Options):
    """How many there may be."""

    max: Annotated[StrictInt, Field(ge=1, le=10)] = 5


class Rating(FieldType[RatingOptions]):
    """A whole number from 1 to `max`; no rating at all is null."""

    name = "rating"
    cast = "smallint"
    quoted = False
    options = RatingOptions

    def storage(self, options: RatingOptions) -> str:
        """Two bytes."""
        return "smallint"

    def annotation(self, options: RatingOptions) -> Any:
        """An integer in the range."""
        return Annotated[int, Field(ge=1, le=options.max)]

    def casts(self, value: Any, options: RatingOptions, mode: Mode) -> Casts:
        """As of an integer."""
        return casting.integers(value, mode)

    def change(self, old: RatingOptions, new: RatingOptions) -> Change:
        """A higher maximum loses nothing; a lower one might."""
        if old == new:
            return Change.SAME
        return Change.WIDER if new.max > old.max else Change.REFUSED

    def widens(self, options: RatingOptions, target: FieldType[Any], target_options: Any) -> bool:
        """Every rating is an integer, and a number that has room for two digits before the point."""
        if isinstance(target, Number):
            return bool(target_options.whole >= len(str(options.max)))
        return isinstance(target, Integer)

    def why_not_unique(self, options: RatingOptions) -> str:
        """Few records could exist."""
        return "a rating has ten values at most"
