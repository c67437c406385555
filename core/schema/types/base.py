"""What every field type says about itself: storage, JSON form, filters, and which changes lose nothing."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from json import dumps, loads
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.schema.closed import Closed
from core.schema.types.casting import Mode, literal


class Operator(StrEnum):
    """A comparison in a filter."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    BETWEEN = "between"
    IN = "in"
    NOT_IN = "not_in"
    IS_NULL = "is_null"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    IEQ = "ieq"
    ICONTAINS = "icontains"
    ISTARTS_WITH = "istarts_with"
    IENDS_WITH = "iends_with"
    SEARCH = "search"
    WITHIN = "within"
    HAS_ANY = "has_any"
    HAS_ALL = "has_all"
    HAS_NONE = "has_none"


EQUALITY = (Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN, Operator.IS_NULL)
COMPARISON = (*EQUALITY, Operator.LT, Operator.LTE, Operator.GT, Operator.GTE, Operator.BETWEEN)
MATCHING = (
    Operator.CONTAINS,
    Operator.STARTS_WITH,
    Operator.ENDS_WITH,
    Operator.IEQ,
    Operator.ICONTAINS,
    Operator.ISTARTS_WITH,
    Operator.IENDS_WITH,
    Operator.SEARCH,
)
"""What compares with a part of a text, which need not be a value of the field's type."""
PROSE = (*EQUALITY, *MATCHING)
"""For a text without an order."""
TEXTUAL = (*COMPARISON, *MATCHING)
TEMPORAL = (*COMPARISON, Operator.WITHIN)
"""For days and moments: a value may be relative, as `today` is."""
CHOICES = (Operator.EQ, Operator.NE, Operator.HAS_ANY, Operator.HAS_ALL, Operator.HAS_NONE, Operator.IS_NULL)
"""For a set: equal where it has the same members, in whatever order."""

TEXT = 'text collate "C"'
"""How text is stored: ordered by code point, as Python orders it, so that cursors and indexes mean the same
on every cluster and after every upgrade of its libraries."""

UNIQUE_MAX_CHARS = 600
"""A B-tree entry has at most 2,704 bytes, and a character up to 4."""


class Options(Closed):
    """The options of a field; a type without any uses this as it is."""


class Change(StrEnum):
    """What new options of the same type mean for the values that are there."""

    SAME = "same"
    WIDER = "wider"
    NARROWER = "narrower"  # allowed when no record holds what is no longer allowed
    REFUSED = "refused"


O = TypeVar("O", bound=Options)  # noqa: E741


class FieldType(ABC, Generic[O]):
    """One field type; its instance in the registry serves every field of the type."""

    name: ClassVar[str]
    cast: ClassVar[str]
    """The PostgreSQL type that a parameter is cast to."""
    operators: ClassVar[tuple[Operator, ...]] = COMPARISON
    sortable: ClassVar[bool] = True
    indexed: ClassVar[bool] = False
    """Whether each field has an index in its order; its values must be short enough for one."""
    quoted: ClassVar[bool] = True
    """Whether a value is a string in JSON."""
    writable: ClassVar[bool] = True
    """Whether a body may name it; what is computed may not be written."""
    source: ClassVar[str | None] = None
    """The audit column of every record that it is read from, where a field has no column of its own."""
    in_record: ClassVar[bool] = True
    """Whether a record's own row holds the value; what is elsewhere is not in the change log."""
    paired: ClassVar[bool] = False
    """Whether it holds ids of other records, kept as pairs too, by which they are found from the other side."""
    numbered: ClassVar[bool] = False
    """Whether its column has a sequence, from which each new record takes its value."""
    doubtful: ClassVar[tuple[bytes, ...]] = ()
    """Expressions for JSON that may hold a number which a float does not: then each digit is read."""
    options: type[O]

    @abstractmethod
    def storage(self, options: O) -> str:
        """Return the column's PostgreSQL type."""

    @abstractmethod
    def annotation(self, options: O) -> Any:
        """Return what pydantic checks a value in a strict JSON body against: never wider than the column."""

    def casts(self, value: Any, options: O, mode: Mode) -> Iterable[tuple[Any, str]]:
        """Return what a refused `value` may stand for, the likeliest first, each with the name of its rule.

        The check stands behind it: of these, `core.coerce` takes the first that `annotation` accepts.
        """
        return ()

    def change(self, old: O, new: O) -> Change:
        """Tell what going from `old` to `new` options means for the values that are there."""
        return Change.SAME if old == new else Change.REFUSED

    def rewrites(self, old: O, new: O) -> bool:
        """Tell whether a change of options makes PostgreSQL write every row again."""
        return self.storage(old) != self.storage(new)

    def widens(self, options: O, target: "FieldType[Any]", target_options: Any) -> bool:
        """Tell whether every value of this type is one of `target` as it stands."""
        longest, room = self.longest(options), target.room(target_options)
        return longest is not None and room is not None and longest <= room

    def longest(self, options: O) -> int | None:
        """Return how many characters a value may have; None where it is not stored as text."""
        return None

    def room(self, options: O) -> int | None:
        """Return how many characters of any text fit; None where not any text does."""
        return None

    def why_not_unique(self, options: O) -> str | None:
        """Return why a field with these options cannot be unique, or None where it can."""
        return None


@lru_cache(maxsize=4096)
def _adapter(field_type: FieldType[Any], options: Options) -> TypeAdapter[Any]:
    return TypeAdapter(field_type.annotation(options))


def checker(field_type: FieldType[Any], options: Options) -> Callable[[Any], bool]:
    """Return what tells whether a parsed value is one of the field as it stands, as the check of a body would."""
    check = _adapter(field_type, options).validate_python

    def accepts(value: Any) -> bool:
        try:
            check(value, strict=True)
        except ValidationError:
            return False
        return True

    return accepts


def check_operand(field_type: FieldType[Any], options: Options, text: str) -> str:
    """Return the text of a filter's value, fit for the type's cast; pydantic's ValidationError otherwise."""
    check = _adapter(field_type, options)
    if field_type.doubtful:
        try:
            value = loads(text, parse_float=literal)
        except (ValueError, RecursionError):
            pass  # the check says it in its own words
        else:
            check.validate_python(value, strict=True)
            return text
    check.validate_json(dumps(text) if field_type.quoted else text, strict=True)
    return text
