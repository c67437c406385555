"""`created_at`: when the record was made, under a name of the tenant's choice."""

from core.schema.types.audit import Moment
from core.schema.types.base import Options


class CreatedAt(Moment):
    """The moment of creation."""

    name = "created_at"
    source = "created_at"

    def why_not_unique(self, options: Options) -> str:
        """It repeats."""
        return "records that are made in one call share their moment"
