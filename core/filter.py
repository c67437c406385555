"""Filters: one tree, and the compact spelling of it that fits a URL."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from pydantic import ValidationError

from core.errors import BadRequest
from core.record import Field, Table, refusal
from core.schema.closed import nearest
from core.schema.types import Operator, check_operand

MAX_CHARS = 8_000
MAX_DEPTH = 10
MAX_CONDITIONS = 100
MAX_VALUES = 200
_GROUPS = ("and", "or", "not")
_NULL = {"null": "true", "not_null": "false"}
_BARE_NAME = re.compile(r'[^.,()"\\]+')
_BARE_VALUE = re.compile(r'[^,()"\\]*')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WORD = re.compile("[a-z_]+")


@dataclass(frozen=True, slots=True)
class Compare:
    """A field against values, as texts fit for its type's cast; a null test has "true" or "false"."""

    field: Field
    operator: Operator
    values: tuple[str, ...]


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


Filter: TypeAlias = Compare | All | Any | Not
"""A condition on a record. It has two values: a comparison with an empty field is false, `ne` true."""


def parse(text: str, table: Table) -> Filter:
    """Return the tree of `and(status.eq.open,or(amount.gt.100,due.is.null))`; refuses what `table` lacks."""
    if len(text) > MAX_CHARS:
        raise refusal("filter", "too_long", f"at most {MAX_CHARS} characters")
    return _Parser(text, table).whole()


def canonical(tree: Filter | None) -> str:
    """Return one text for equal trees, by field id, so that it outlives a rename."""
    match tree:
        case None:
            return ""
        case Compare(field, operator, values):
            return f"{field.key}.{operator}.{[*values]!r}"
        case Not(part):
            return f"not({canonical(part)})"
        case All(parts):
            return f"and({','.join(map(canonical, parts))})"
        case Any(parts):
            return f"or({','.join(map(canonical, parts))})"


def conditions(tree: Filter) -> Iterator[Compare]:
    """Yield every comparison in `tree`, from left to right."""
    match tree:
        case Compare():
            yield tree
        case Not(part):
            yield from conditions(part)
        case All(parts) | Any(parts):
            for part in parts:
                yield from conditions(part)


class _Parser:
    """A reader of the compact spelling; every loop of it moves on or ends."""

    def __init__(self, text: str, table: Table) -> None:
        self.text = text
        self.table = table
        self.at = 0
        self.count = 0

    def whole(self) -> Filter:
        tree = self.condition(1)
        if self.at != len(self.text):
            self.fail("the filter goes on after its end; join conditions as and(…,…)")
        return tree

    def condition(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            self.fail(f"nested more than {MAX_DEPTH} deep", "too_deep")
        self.count += 1
        if self.count > MAX_CONDITIONS:
            self.fail(f"at most {MAX_CONDITIONS} conditions", "too_many")
        for group in _GROUPS:
            if self.text.startswith(group + "(", self.at):
                self.at += len(group) + 1
                return self.group(group, depth)
        return self.compare()

    def group(self, group: str, depth: int) -> Filter:
        parts = [self.condition(depth + 1)]
        while self.take(","):
            parts.append(self.condition(depth + 1))
        self.need(")")
        if group == "not":
            if len(parts) != 1:
                self.fail("not() takes one condition")
            return Not(parts[0])
        return All(tuple(parts)) if group == "and" else Any(tuple(parts))

    def compare(self) -> Compare:
        field = self.table.field(self.quoted() or self.matched(_BARE_NAME, "a field's name"), "filter")
        self.need(".")
        word = self.matched(_WORD, "an operator")
        self.need(".")
        operator = self.operator(field, word)
        if operator is Operator.IS_NULL:
            test = self.matched(_WORD, "null or not_null")
            if test not in _NULL:
                self.fail(nearest("test", test, _NULL), "unknown_operator")
            return Compare(field, Operator.IS_NULL, (_NULL[test],))
        if operator is Operator.IN:
            return Compare(field, operator, self.values(field))
        return Compare(field, operator, (self.value(field),))

    def operator(self, field: Field, word: str) -> Operator:
        known = {"is" if o is Operator.IS_NULL else o.value: o for o in field.type.operators}
        if word == Operator.IS_NULL:
            self.fail("an operator 'is_null' is written is.null or is.not_null", "unknown_operator")
        if word not in known:
            self.fail(f"{field.type.name}: {nearest('operator', word, known)}", "unknown_operator")
        return known[word]

    def values(self, field: Field) -> tuple[str, ...]:
        self.need("(")
        found = [self.value(field)]
        while self.take(","):
            found.append(self.value(field))
            if len(found) > MAX_VALUES:
                self.fail(f"at most {MAX_VALUES} values", "too_many")
        self.need(")")
        return tuple(found)

    def value(self, field: Field) -> str:
        quoted = self.quoted()
        text = self.matched(_BARE_VALUE, "a value") if quoted is None else quoted
        try:
            return check_operand(field.type, field.options, text)
        except ValidationError as error:
            why = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
            self.fail(f"{field.name!r} cannot be compared with {text[:100]!r}: {why}", "invalid_value")

    def quoted(self) -> str | None:
        if not self.text.startswith('"', self.at):
            return None
        found = _QUOTED.match(self.text, self.at)
        if found is None:
            self.fail("a double quote is not closed", "unbalanced_quote")
        self.at = found.end()
        return _ESCAPED.sub(r"\1", found.group(1))

    def matched(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            self.fail(f"{what} is missing")
        self.at = found.end()
        return found.group()

    def take(self, char: str) -> bool:
        if self.text.startswith(char, self.at):
            self.at += 1
            return True
        return False

    def need(self, char: str) -> None:
        if not self.take(char):
            self.fail(
                f"{char!r} is missing; a name or value with a comma, dot or bracket stands in double quotes"
            )

    def fail(self, detail: str, code: str = "syntax") -> NoReturn:
        error: BadRequest = refusal("filter", code, f"{detail} (at character {self.at + 1})")
        raise error
