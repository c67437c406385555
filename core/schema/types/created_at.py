"""`created_at`: when the record was made, under a name of the tenant's choice."""

from typing import Any

from core.schema.types.base import TEMPORAL, FieldType, Options
from core.schema.types.datetime import Datetime


class CreatedAt(FieldType[Options]):
    """The moment of creation, which every record has anyway: the field takes no room and cannot be written."""

    name = "created_at"
    cast = "timestamptz"
    operators = TEMPORAL
    source = "created_at"
    writable = False
    options = Options

    def storage(self, options: Options) -> str:
        """As every table has it."""
        return "timestamptz"

    def annotation(self, options: Options) -> Any:
        """As a `datetime`."""
        return Datetime().annotation(options)

    def why_not_unique(self, options: Options) -> str:
        """It repeats."""
        return "records that are made in one call share their moment"
