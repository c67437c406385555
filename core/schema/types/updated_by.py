"""`updated_by`: who last changed the record."""

from core.schema.types.audit import Person
from core.schema.types.base import Options


class UpdatedBy(Person):
    """Who last changed it."""

    name = "updated_by"
    source = "updated_by"

    def why_not_unique(self, options: Options) -> str:
        """It repeats."""
        return "one person changes many records"
