"""`datetime`: a moment, to the microsecond."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

from core.schema.types.base import TEMPORAL, FieldType, Options
from core.schema.types.casting import Casts, Mode

# RFC 3339 without what PostgreSQL refuses (offsets of 16 hours and more) and what it rounds (nanoseconds).
_DAY, _TIME = "[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
_PATTERN = f"^{_DAY}T{_TIME}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$"

_LOOSE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:[.,]([0-9]{1,12}))?"
    r" ?(?:([Zz])|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?)?)?"
)


def _in_range(text: str) -> str:
    # A moment whose UTC is outside the years 1 to 9999 would come back with an era instead of a date.
    try:
        datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the years 0001 to 9999 in UTC") from None
    return text


class Datetime(FieldType[Options]):
    """A moment in the years 0001 to 9999 of UTC; the offset it was sent with is not kept."""

    name = "datetime"
    cast = "timestamptz"
    operators = TEMPORAL
    indexed = True
    options = Options

    def storage(self, options: Options) -> str:
        """A moment, not a wall clock."""
        return "timestamptz"

    def annotation(self, options: Options) -> Any:
        """RFC 3339 text with an offset: pydantic's own datetime would also take a count of seconds."""
        return Annotated[
            str,
            StringConstraints(pattern=_PATTERN),
            AfterValidator(_in_range),
            WithJsonSchema({"type": "string", "format": "date-time"}),
        ]

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """Other spellings of ISO 8601; leniently also without an offset, which is then UTC, or without a time.

        A count of seconds or milliseconds is refused: nobody can tell which. Nothing below a microsecond is kept, so
        strictly there must be nothing.
        """
        if not isinstance(value, str):
            return
        found = _LOOSE.fullmatch(value.strip() if mode is Mode.LENIENT else value)
        if found is None:
            return
        day, minutes, seconds, fraction, zulu, sign, hours, offset = found.groups()
        has_offset, below = bool(zulu or sign), (fraction or "")[6:].strip("0")
        if mode is Mode.STRICT and (not has_offset or below):
            return
        try:
            local = datetime.fromisoformat(
                f"{day}T{minutes or '00:00'}{seconds or ':00'}.{(fraction or '')[:6]:0<6}"
            )
            ahead = timedelta(hours=int(hours or 0), minutes=int(offset or 0)) * (-1 if sign == "-" else 1)
            moment = local.replace(tzinfo=timezone(ahead)).astimezone(UTC)
        except (ValueError, OverflowError):
            return
        rule = "iso_variant" if has_offset else "assumed_utc"
        yield moment.replace(tzinfo=None).isoformat() + "Z", "truncated" if below else rule
