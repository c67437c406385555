"""`link`: records of a table of the same base; and the inverse, which that table shows."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictBool, WithJsonSchema

from core.ids import PATTERN, UlidStr
from core.schema.naming import Name
from core.schema.types.base import CHOICES, Change, FieldType, Options

MAX_LINKS = 1_000
"""To how many records one may be linked, and how many of those that are linked to it its inverse shows."""


class LinkOptions(Options):
    """To which table, whether to many of its records, and under which name that table shows who is linked to it."""

    table: Annotated[str, Field(min_length=1, max_length=100)]
    """An id; in what is sent it may be a name, since a new table has no id yet."""
    many: StrictBool = True
    inverse: Name | None = None

    @property
    def table_id(self) -> str:
        """The linked table."""
        return self.table


def _once_each(ids: list[str]) -> list[str]:
    if len(set(ids)) < len(ids):
        raise ValueError("a record is named twice")
    return ids


def _ids(most: int) -> Any:
    item = {"type": "string", "pattern": PATTERN}
    schema = {"type": "array", "items": item, "uniqueItems": True, "maxItems": most}
    return Annotated[
        list[UlidStr], Field(max_length=most), AfterValidator(_once_each), WithJsonSchema(schema)
    ]


class Link(FieldType[LinkOptions]):
    """The ids of linked records, each once, in the order in which they were sent; no link is an empty array."""

    name = "link"
    cast = "text[]"
    operators = CHOICES
    sortable = False
    quoted = False
    paired = True
    options = LinkOptions

    def storage(self, options: LinkOptions) -> str:
        """The ids themselves, so that the change log has them with everything else."""
        return 'text[] collate "C"'

    def annotation(self, options: LinkOptions) -> Any:
        """A list of ids."""
        return _ids(MAX_LINKS if options.many else 1)

    def change(self, old: LinkOptions, new: LinkOptions) -> Change:
        """An inverse comes, goes and is renamed freely; more links lose nothing; another table would lose all."""
        if old == new:
            return Change.SAME
        return Change.REFUSED if old.table != new.table or (old.many and not new.many) else Change.WIDER

    def why_not_unique(self, options: LinkOptions) -> str:
        """Which of them would count?"""
        return "a list of links cannot be unique"


class Inverse(FieldType[LinkOptions]):
    """The ids of the records that are linked to this one by a `link` of another table, or of this, in their order."""

    name = "inverse"
    cast = "text[]"
    operators = CHOICES
    sortable = False
    quoted = False
    writable = False
    in_record = False
    options = LinkOptions

    def storage(self, options: LinkOptions) -> str:
        """As it is read: it is stored nowhere."""
        return 'text[] collate "C"'

    def annotation(self, options: LinkOptions) -> Any:
        """A list of ids."""
        return _ids(MAX_LINKS)

    def why_not_unique(self, options: LinkOptions) -> str:
        """Which of them would count?"""
        return "a list of links cannot be unique"


INVERSE = Inverse()
"""Not in the registry of types: it is had by naming it in a link's options."""
