"""`created_by`: who made the record."""

from core.schema.types.audit import Person
from core.schema.types.base import Options


class CreatedBy(Person):
    """Who made it."""

    name = "created_by"
    source = "created_by"

    def why_not_unique(self, options: Options) -> str:
        """It repeats."""
        return "one person makes many records"
