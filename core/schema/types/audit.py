"""What the types have in common that show what every record has anyway."""

from typing import Any

from core.ids import UlidStr
from core.schema.types.base import EQUALITY, TEMPORAL, TEXT, FieldType, Options
from core.schema.types.datetime import Datetime


class Moment(FieldType[Options]):
    """A moment that the record path sets: the field takes no room and cannot be written."""

    cast = "timestamptz"
    operators = TEMPORAL
    writable = False
    options = Options

    def storage(self, options: Options) -> str:
        """As every table has it."""
        return "timestamptz"

    def annotation(self, options: Options) -> Any:
        """As a `datetime`."""
        return Datetime().annotation(options)


class Person(FieldType[Options]):
    """The id of the user, or of the token that belongs to none; the field takes no room and cannot be written."""

    cast = "text"
    operators = EQUALITY
    writable = False
    options = Options

    def storage(self, options: Options) -> str:
        """An id."""
        return TEXT

    def annotation(self, options: Options) -> Any:
        """An id."""
        return UlidStr
