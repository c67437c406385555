"""Conditions: a filter as SQL on a record `r`, its values as parameters."""

import re
from collections.abc import Iterable

from core.filter import All, Any, Compare, Filter, Linked, Not, Quantifier
from core.filter.tree import Value
from core.record import Field, refusal
from core.schema.types import Operator
from db.data import links
from db.data.statements import physical, value_of

_SIGNS = {
    Operator.EQ: "=",
    # An empty field is not equal to anything, so it is found by `ne`.
    Operator.NE: "is distinct from",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.GT: ">",
    Operator.GTE: ">=",
}
# Where in a text another must stand: what LIKE has before and after it.
_LIKE = {
    Operator.CONTAINS: ("%", "%"),
    Operator.STARTS_WITH: ("", "%"),
    Operator.ENDS_WITH: ("%", ""),
    Operator.IEQ: ("", ""),
    Operator.ICONTAINS: ("%", "%"),
    Operator.ISTARTS_WITH: ("", "%"),
    Operator.IENDS_WITH: ("%", ""),
}
_FOLDED = (Operator.IEQ, Operator.ICONTAINS, Operator.ISTARTS_WITH, Operator.IENDS_WITH)
_WILD = re.compile(r"([\\%_])")
_SEARCHED_CHARS = 100_000
"""How much of a text is searched: a tsvector holds 1 MB of words with their places."""


def compiled(tree: Filter, values: list[str], row: str = "r") -> str:
    """Return the condition, and add its values to `values`, which a statement finds in `params.q`.

    It is true or not true; a statement may not tell false from unknown. Refuses what hangs on the present moment:
    that is to be `resolved` before.
    """
    match tree:
        case Compare(field, Operator.HAS_ANY | Operator.HAS_NONE as operator, given) if (
            field.link is not None
        ):
            found = links.has_any(field, row, f"array[{_listed(given, 'text', values)}]::text[]")
            return found if operator is Operator.HAS_ANY else f"not {found}"
        case Compare(field, operator, given):
            return _compared(value_of(field, row), field, operator, given, values)
        case All(parts):
            return f"({' and '.join(compiled(part, values, row) for part in parts)})"
        case Any(parts):
            return f"({' or '.join(compiled(part, values, row) for part in parts)})"
        case Not(part):
            # Not `not`: what is unknown to SQL, a comparison with an empty field, is false to a filter.
            return f"({compiled(part, values, row)}) is not true"
        case Linked(field, quantifier, table, part):
            inner = f"{row}l"
            condition = compiled(part, values, inner)
            is_every = quantifier is Quantifier.EVERY
            return (
                f"{'' if quantifier is Quantifier.SOME else 'not '}exists (select from {physical(table)} {inner}"
                f" where {links.is_linked(field, row, inner)}"
                f" and {f'({condition}) is not true' if is_every else condition})"
            )


def _value(text: Value, cast: str, values: list[str]) -> str:
    if not isinstance(text, str):
        raise refusal("filter", "relative", f"{text.word!r} cannot stand here: name the day")
    values.append(text)
    return f"($1 -> 'q' ->> {len(values) - 1})::{cast}"


def _listed(texts: Iterable[Value], cast: str, values: list[str]) -> str:
    return ", ".join(_value(text, cast, values) for text in texts)


def _compared(
    left: str, field: Field, operator: Operator, given: tuple[Value, ...], values: list[str]
) -> str:
    def value(text: Value, cast: str = field.type.cast) -> str:
        return _value(text, cast, values)

    def listed(texts: Iterable[Value], cast: str = field.type.cast) -> str:
        return _listed(texts, cast, values)

    if operator in _LIKE:
        before, after = _LIKE[operator]
        pattern = value(before + _WILD.sub(r"\\\1", str(given[0])) + after, "text")
        if operator not in _FOLDED:
            return f"{left} like {pattern}"
        # The folding of Unicode that PostgreSQL brings along, the same on every cluster.
        folded = 'casefold({} collate "pg_unicode_fast")'
        return f"{folded.format(left)} like {folded.format(pattern)}"
    match operator:
        case Operator.IS_NULL:
            if field.link is not None:  # no link is an empty set
                return f"{left} {'=' if given == ('true',) else '<>'} '{{}}'"
            return f"{left} is {'' if given == ('true',) else 'not '}null"
        case Operator.IN:
            return f"{left} in ({listed(given)})"
        case Operator.NOT_IN:
            return f"({left} in ({listed(given)})) is not true"
        case Operator.BETWEEN:
            return f"{left} between {value(given[0])} and {value(given[1])}"
        case Operator.SEARCH:
            words = f"to_tsvector('simple', left({left}, {_SEARCHED_CHARS}))"
            return f"{words} @@ websearch_to_tsquery('simple', {value(given[0], 'text')})"
    if field.type.cast != "text[]":
        return f"{left} {_SIGNS[operator]} {value(given[0])}"
    several = f"array[{listed(given, 'text')}]::text[]"
    match operator:
        case Operator.HAS_ANY:
            return f"{left} && {several}"
        case Operator.HAS_NONE:
            return f"({left} && {several}) is not true"
        case Operator.HAS_ALL:
            return f"{left} @> {several}"
        case _:
            same = f"({left} @> {several} and {left} <@ {several})"
            return f"{same} is not true" if operator is Operator.NE else same
