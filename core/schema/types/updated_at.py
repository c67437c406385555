"""`updated_at`: when the record was last changed, under a name of the tenant's choice."""

from typing import Any

from core.schema.types.base import TEMPORAL, FieldType, Options
from core.schema.types.datetime import Datetime


class UpdatedAt(FieldType[Options]):
    """The moment of the last change, which every record has anyway: the field takes no room and cannot be written."""

    name = "updated_at"
    cast = "timestamptz"
    operators = TEMPORAL
    source = "updated_at"
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
        return "records that are changed in one call share their moment"
