"""`datetime`: a moment, to the microsecond."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

from core.schema.types.base import FieldType, Options

# RFC 3339 without what PostgreSQL refuses (offsets of 16 hours and more) and what it rounds (nanoseconds).
_DAY, _TIME = "[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
_PATTERN = f"^{_DAY}T{_TIME}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$"


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
