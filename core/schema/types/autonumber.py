"""`autonumber`: PostgreSQL counts the records."""

from typing import Annotated, Any

from pydantic import Field

from core.schema.types.base import FieldType, Options


class Autonumber(FieldType[Options]):
    """A number that no other record of the table has or had; later records have higher ones, with gaps."""

    name = "autonumber"
    cast = "bigint"
    quoted = False
    writable = False
    numbered = True
    options = Options

    def storage(self, options: Options) -> str:
        """64 bits."""
        return "bigint"

    def annotation(self, options: Options) -> Any:
        """A whole number from 1."""
        return Annotated[int, Field(ge=1, le=2**63 - 1)]

    def why_not_unique(self, options: Options) -> str:
        """There is nothing to ask for."""
        return "an autonumber is unique as it is"
