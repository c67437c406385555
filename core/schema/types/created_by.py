"""`created_by`: who made the record."""

from typing import Any

from core.ids import UlidStr
from core.schema.types.base import EQUALITY, TEXT, FieldType, Options


class CreatedBy(FieldType[Options]):
    """The id of the user, or of the token that belongs to none; the field takes no room and cannot be written."""

    name = "created_by"
    cast = "text"
    source = "created_by"
    writable = False
    operators = EQUALITY
    options = Options

    def storage(self, options: Options) -> str:
        """An id."""
        return TEXT

    def annotation(self, options: Options) -> Any:
        """An id."""
        return UlidStr

    def why_not_unique(self, options: Options) -> str:
        """It repeats."""
        return "one person makes many records"
