"""`updated_at`: when the record was last changed, under a name of the tenant's choice."""

from core.schema.types.audit import Moment
from core.schema.types.base import Options


class UpdatedAt(Moment):
    """The moment of the last change."""

    name = "updated_at"
    source = "updated_at"

    def why_not_unique(self, options: Options) -> str:
        """It repeats."""
        return "records that are changed in one call share their moment"
