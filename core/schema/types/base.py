"""What every field type says about itself: storage, JSON form, filters, and which changes lose nothing."""

from abc import ABC, abstractmethod
from enum import StrEnum
from functools import lru_cache
from json import dumps
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import TypeAdapter

from core.schema.closed import Closed


class Operator(StrEnum):
    """A comparison in a filter."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    IS_NULL = "is_null"


EQUALITY = (Operator.EQ, Operator.NE, Operator.IN, Operator.IS_NULL)
COMPARISON = (*EQUALITY, Operator.LT, Operator.LTE, Operator.GT, Operator.GTE)

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
    options: type[O]

    @abstractmethod
    def storage(self, options: O) -> str:
        """Return the column's PostgreSQL type."""

    @abstractmethod
    def annotation(self, options: O) -> Any:
        """Return what pydantic checks a value in a strict JSON body against: never wider than the column."""

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


def check_operand(field_type: FieldType[Any], options: Options, text: str) -> str:
    """Return the text of a filter's value, fit for the type's cast; pydantic's ValidationError otherwise."""
    _adapter(field_type, options).validate_json(dumps(text) if field_type.quoted else text, strict=True)
    return text
