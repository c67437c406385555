"""`date`: a calendar day, without a time or a zone."""

from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

from core.schema.types.base import FieldType, Options

_PATTERN = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def _on_the_calendar(text: str) -> str:
    date.fromisoformat(text)
    return text


class Date(FieldType[Options]):
    """A day from 0001-01-01 to 9999-12-31."""

    name = "date"
    cast = "date"
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
