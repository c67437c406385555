"""The tree that every spelling of a filter becomes, and what is asked of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from core.filter.dates import Relative
from core.record import Field, Table
from core.schema.types import Operator

MAX_DEPTH = 10
MAX_CONDITIONS = 100
MAX_VALUES = 200
MAX_LINKS = 2
"""How many links a condition may go along."""

Value: TypeAlias = str | Relative
"""A text fit for the cast of the field's type, or a day or span of days that hangs on the present moment."""


@dataclass(frozen=True, slots=True)
class Compare:
    """A field against values; a null test has "true" or "false"."""

    field: Field
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class All:
    """True where every part is."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Any:
    """True where some part is."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True where the part is not."""

    part: "Filter"


class Quantifier(StrEnum):
    """Of how many linked records a condition must be true; of no record at all `every` and `none` are."""

    SOME = "some"
    EVERY = "every"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Linked:
    """A condition on the records of `table` that `field` links to."""

    field: Field
    quantifier: Quantifier
    table: Table
    part: "Filter"


Filter: TypeAlias = Compare | All | Any | Not | Linked
"""A condition on a record. It has two values: a comparison with an empty field is false, and true where it denies:
`ne`, `not_in` and `has_none` are true of exactly the records of which `eq`, `in` and `has_any` are false."""


def canonical(tree: Filter | None) -> str:
    """Return one text for equal trees, by field id, so that it outlives a rename."""
    match tree:
        case None:
            return ""
        case Compare(field, operator, values):
            return f"{field.key}.{operator}.{[str(v) if isinstance(v, str) else v.key for v in values]!r}"
        case Not(part):
            return f"not({canonical(part)})"
        case All(parts):
            return f"and({','.join(map(canonical, parts))})"
        case Any(parts):
            return f"or({','.join(map(canonical, parts))})"
        case Linked(field, quantifier, table, part):
            return f"{field.key}.{quantifier}.{table.id}({canonical(part)})"


def is_relative(tree: Filter | None) -> bool:
    """Tell whether what `tree` means hangs on the present moment."""
    match tree:
        case None:
            return False
        case Compare(_, _, values):
            return any(isinstance(value, Relative) for value in values)
        case Not(part) | Linked(_, _, _, part):
            return is_relative(part)
        case All(parts) | Any(parts):
            return any(map(is_relative, parts))


def resolved(tree: Filter, now: datetime) -> Filter:
    """Return `tree` as it is meant at `now`: each relative value as the days or moments it stands for."""
    match tree:
        case Compare(field, operator, values):
            return _resolved(field, operator, values, now) if is_relative(tree) else tree
        case Not(part):
            return Not(resolved(part, now))
        case All(parts):
            return All(tuple(resolved(part, now) for part in parts))
        case Any(parts):
            return Any(tuple(resolved(part, now) for part in parts))
        case Linked(field, quantifier, table, part):
            return Linked(field, quantifier, table, resolved(part, now))


def _resolved(field: Field, operator: Operator, values: Sequence[Value], now: datetime) -> Filter:
    as_moments = field.type.cast == "timestamptz"

    def lower(value: Value) -> Compare:
        text = value if isinstance(value, str) else value.bounds(now, as_moments=as_moments)[0]
        return Compare(field, Operator.GTE, (text,))

    def upper(value: Value) -> Compare:
        if isinstance(value, str):
            return Compare(field, Operator.LTE, (value,))
        return Compare(field, Operator.LT, (value.bounds(now, as_moments=as_moments)[1],))

    def is_in(value: Value) -> Filter:
        return All((lower(value), upper(value)))

    match operator:
        case Operator.LT:
            return Compare(field, Operator.LT, lower(values[0]).values)
        case Operator.GTE:
            return lower(values[0])
        case Operator.LTE:
            return upper(values[0])
        case Operator.GT:
            return Compare(field, Operator.GTE, upper(values[0]).values)
        case Operator.BETWEEN:
            return All((lower(values[0]), upper(values[1])))
        case Operator.NE | Operator.NOT_IN:
            return Not(Any(tuple(map(is_in, values))))
        case _:
            return Any(tuple(map(is_in, values)))
