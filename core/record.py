"""What a table is to the record path: its fields, the order of a list, and the place where a page ends."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from core.errors import BadRequest, Fault
from core.ids import Ulid
from core.retention import TRASH_DAYS
from core.schema.closed import nearest
from core.schema.naming import fold
from core.schema.types import TYPES, FieldType, Options
from core.schema.types.link import INVERSE, LinkOptions
from core.schema.types.text import TextOptions

MAX_SORT_KEYS = 5
MAX_SORT_CHARS = 6_000
"""How much text the keys may hold together: a cursor, which carries them, must fit into an address."""
_NAME = re.compile(r'(-?)(?:"((?:[^"\\]|\\.)*)"|([^",]*))', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
SYSTEM_NAMES = ("id", "created_at", "updated_at", "version")


@dataclass(frozen=True, slots=True)
class Link:
    """Where the records of a link, or of its inverse, are: the other table, and the field that holds their ids."""

    tenant_id: Ulid
    table_id: str
    field_id: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a table; of a system field the id is its name, which is also its column."""

    id: str
    name: str
    type: FieldType[Any]
    options: Options
    required: bool = False
    unique: bool = False
    link: Link | None = None

    @property
    def is_system(self) -> bool:
        """Whether every record has it."""
        return self.id in SYSTEM_NAMES

    @property
    def key(self) -> str:
        """What a cursor is bound to: it outlives a rename, not a change of type."""
        return f"{self.id}:{self.type.name}"


_SYSTEM = (
    Field("id", "id", TYPES["text"], TextOptions(), required=True),
    Field("created_at", "created_at", TYPES["datetime"], Options(), required=True),
    Field("updated_at", "updated_at", TYPES["datetime"], Options(), required=True),
    Field("version", "version", TYPES["integer"], Options(), required=True),
)
ID, CREATED_AT = _SYSTEM[:2]


@dataclass(frozen=True, eq=False)
class Table:
    """A table of a base as it was at one schema version; loaded again unchanged it is equal."""

    tenant_id: Ulid
    base_id: Ulid
    id: Ulid
    name: str
    version: int
    fields: tuple[Field, ...]
    trash_days: int = TRASH_DAYS
    """For how many days a deleted record can be restored."""

    @cached_property
    def _key(self) -> tuple[str, int, int]:
        return (self.id, self.version, hash((self.base_id, self.name, self.fields, self.trash_days)))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Table) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """The fields by their names."""
        return {f.name: f for f in self.fields}

    @cached_property
    def writable(self) -> tuple[Field, ...]:
        """The fields that a record's body may name."""
        return tuple(f for f in self.fields if f.type.writable)

    @cached_property
    def recorded(self) -> tuple[Field, ...]:
        """The fields whose values a record's own row holds, and so the change log."""
        return tuple(f for f in self.fields if f.type.in_record)

    @cached_property
    def by_id(self) -> dict[str, Field]:
        """The fields by their ids."""
        return {f.id: f for f in self.fields}

    @cached_property
    def readable(self) -> dict[str, Field]:
        """The fields that a filter or a sort may name, the system's included."""
        return {f.name: f for f in _SYSTEM} | self.by_name

    def field(self, name: str, parameter: str) -> Field:
        """Return the field called `name`; refuses any other with the nearest valid name."""
        found = self.readable.get(name)
        if found is None:
            raise refusal(parameter, "unknown_field", nearest("field", name, self.readable))
        return found


def linked(tenant_id: Ulid, stored: Mapping[str, Sequence[Field]]) -> dict[str, tuple[Field, ...]]:
    """Return the fields of each table of a base: those that are stored, their links in place, then the inverses.

    While a schema is applied, step by step, a link may be there without its table, or an inverse beside a field of
    its name: then it is left out.
    """
    complete: dict[str, list[Field]] = {table_id: [] for table_id in stored}
    inverses: list[tuple[str, Field]] = []
    for table_id, fields in stored.items():
        for field in fields:
            if not isinstance(field.options, LinkOptions):
                complete[table_id].append(field)
                continue
            other = field.options.table_id
            if other not in stored:
                continue
            complete[table_id].append(replace(field, link=Link(tenant_id, other, field.id)))
            if field.options.inverse is not None:
                options = LinkOptions(table=table_id)
                back = Link(tenant_id, table_id, field.id)
                inverse = Field(f"inverse of {field.id}", field.options.inverse, INVERSE, options, link=back)
                inverses.append((other, inverse))
    for table_id, inverse in inverses:
        if all(fold(field.name) != fold(inverse.name) for field in complete[table_id]):
            complete[table_id].append(inverse)
    return {table_id: tuple(fields) for table_id, fields in complete.items()}


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of an order."""

    field: Field
    descending: bool = False


def parse_sort(text: str | None, table: Table) -> tuple[SortKey, ...]:
    """Return the order that `sort=a,-b` asks for, ended by the id; without any, the order of creation."""
    keys: list[SortKey] = []
    for name, descending in () if text is None else split_names(text, "sort"):
        key = SortKey(table.field(name, "sort"), descending)
        if not key.field.type.sortable:
            detail = f"{name!r} is a {key.field.type.name}, which has no order"
            raise refusal("sort", "not_sortable", detail)
        if key.field in (k.field for k in keys):
            raise refusal("sort", "repeated_field", f"{name!r} is named twice")
        keys.append(key)
    if len(keys) > MAX_SORT_KEYS:
        raise refusal("sort", "too_many", f"at most {MAX_SORT_KEYS} sort keys")
    longest = sum(key.field.type.longest(key.field.options) or 0 for key in keys if not key.field.is_system)
    if longest > MAX_SORT_CHARS:
        detail = f"these fields may hold {longest} characters; a page's place has room for {MAX_SORT_CHARS}"
        raise refusal("sort", "too_long", detail)
    if not keys:
        return (SortKey(ID),)
    for place, key in enumerate(keys):
        if key.field is ID:  # what comes after a unique key orders nothing
            return tuple(keys[: place + 1])
    # The same direction as the last key, so that one index on (key, id) serves both ways.
    return (*keys, SortKey(ID, keys[-1].descending))


def parse_projection(text: str | None, table: Table) -> tuple[Field, ...]:
    """Return the fields that `fields=a,b` asks for, in the table's order; without any, all."""
    if text is None:
        return table.fields
    wanted = set()
    for name, minus in split_names(text, "fields"):
        if minus or name not in table.by_name:
            raise refusal("fields", "unknown_field", nearest("field", name, table.by_name))
        wanted.add(name)
    return tuple(f for f in table.fields if f.name in wanted)


def query_key(table: Table, order: Sequence[SortKey], condition: str) -> str:
    """Return what a cursor belongs to: this table, this order, this condition."""
    keys = ",".join(("-" if k.descending else "") + k.field.key for k in order)
    return f"{table.tenant_id} {table.base_id} {table.id} {keys} {condition}"


def is_position(value: Any, order: Sequence[SortKey]) -> bool:
    """Tell whether `value`, out of a cursor, is a place in `order`: a text or null for each key."""
    return (
        isinstance(value, list)
        and len(value) == len(order)
        and all(
            isinstance(v, str) or (v is None and not k.field.is_system)
            for v, k in zip(value, order, strict=True)
        )
    )


def split_names(text: str, parameter: str) -> list[tuple[str, bool]]:
    """Return the names in a comma-separated list, and whether each has a minus before it.

    In double quotes a comma is text, a backslash escapes, and a minus belongs to the name.
    """
    found: list[tuple[str, bool]] = []
    place = 0
    while True:
        part = _NAME.match(text, place)
        minus, quoted, bare = part.groups() if part is not None else ("", None, "")
        name = bare if quoted is None else _ESCAPED.sub(r"\1", quoted)
        if part is None or not name:
            raise refusal(
                parameter, "syntax", f"a name is missing, or a double quote, at character {place + 1}"
            )
        found.append((name, minus == "-"))
        place = part.end() + 1
        if part.end() == len(text):
            return found
        if text[part.end()] != ",":
            raise refusal(parameter, "syntax", f"a comma is missing at character {part.end() + 1}")


def refusal(parameter: str, code: str, detail: str) -> BadRequest:
    """Return the refusal of a query parameter."""
    return BadRequest(f"{parameter}: {detail}", (Fault(parameter, code, detail),), code="invalid_parameter")
