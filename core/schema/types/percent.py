"""`percent`: a share, where 0.25 is 25 %."""

from typing import Annotated, Any

from pydantic import Field, StrictInt

from core.schema.types import casting
from core.schema.types.base import Change, Options
from core.schema.types.casting import Casts, Mode
from core.schema.types.number import Decimals

_WHOLE = 12


class PercentOptions(Options):
    """How many digits after the point: two keep whole percents, four keep 12.34 %."""

    scale: Annotated[StrictInt, Field(ge=0, le=12)] = 6


class Percent(Decimals[PercentOptions]):
    """A share of one, exact: 0.25 in JSON, in filters and in PostgreSQL is 25 %."""

    name = "percent"
    options = PercentOptions

    def size(self, options: PercentOptions) -> tuple[int, int]:
        """Twelve digits before the point, so that a change of scale needs no thought about them."""
        return _WHOLE + options.scale, options.scale

    def casts(self, value: Any, options: PercentOptions, mode: Mode) -> Casts:
        """A text with a percent sign is divided by 100; one without it is the share itself, as a number is."""
        if not isinstance(value, str) or not value.rstrip().endswith("%"):
            yield from casting.decimals(value, mode)
            return
        found = casting.number(value.rstrip()[:-1].rstrip(), mode)
        if found is not None:
            yield casting.shifted(found, -2), "percent_sign"

    def change(self, old: PercentOptions, new: PercentOptions) -> Change:
        """More digits lose nothing; fewer might."""
        if old == new:
            return Change.SAME
        return Change.WIDER if new.scale > old.scale else Change.REFUSED
