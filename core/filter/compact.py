"""The compact spelling: `and(status.eq.open,or(amount.gt.100,due.lt.today))`, which fits a URL."""

import re
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

from core.errors import BadRequest
from core.filter import operands
from core.filter.dates import UTC_NAME, check_zone
from core.filter.operands import Unfit
from core.filter.tree import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LINKS,
    MAX_VALUES,
    All,
    Any,
    Filter,
    Linked,
    Not,
    Quantifier,
)
from core.record import Field, Table, refusal
from core.schema.types import Operator

T = TypeVar("T")

MAX_CHARS = 8_000
_GROUPS = ("and", "or", "not")
_BARE_NAME = re.compile(r'[^.,()"\\]+')
_BARE_VALUE = re.compile(r'[^,()"\\]*')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WORD = re.compile("[a-z_]+")
_NO_TABLES: Mapping[str, Table] = {}


def parse(
    text: str, table: Table, *, timezone: str | None = None, tables: Mapping[str, Table] = _NO_TABLES
) -> Filter:
    """Return the tree that `text` spells; refuses what `table` lacks.

    `tables` are those of the base, for conditions through links; days begin where they do in `timezone`.
    """
    zone = check_timezone(timezone)
    if len(text) > MAX_CHARS:
        raise refusal("filter", "too_long", f"at most {MAX_CHARS} characters")
    return _Parser(text, table, zone, tables).whole()


def check_timezone(name: str | None) -> str:
    """Return the name of the time zone in which days begin, UTC unless one is named; refuses what is none."""
    try:
        return UTC_NAME if name is None else check_zone(name)
    except ValueError as error:
        raise refusal("timezone", "unknown_timezone", str(error)) from None


class _Parser:
    """A reader of the compact spelling; every loop of it moves on or ends."""

    def __init__(self, text: str, table: Table, zone: str, tables: Mapping[str, Table]) -> None:
        self.text = text
        self.table = table
        self.zone = zone
        self.tables = tables
        self.at = 0
        self.count = 0
        self.links = 0

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
        return self.compare(depth)

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

    def compare(self, depth: int) -> Filter:
        name = self.quoted() or self.matched(_BARE_NAME, "a field's name")
        field = self.fit(lambda: operands.field_of(self.table, name))
        self.need(".")
        word = self.matched(_WORD, "an operator")
        self.need(".")
        target = operands.linked_table(field, self.tables)
        if target is not None and word in operands.QUANTIFIERS:
            return self.linked(field, operands.QUANTIFIERS[word], target, depth)
        operator = self.fit(lambda: operands.operator_of(field, word, links=target is not None))
        if operator is Operator.IS_NULL:
            texts = [self.matched(_WORD, "null or not_null")]
        elif operands.takes_list(field, operator):
            texts = self.values(operator)
        else:
            texts = [self.value()]
        return self.fit(lambda: operands.compare(field, operator, texts, self.zone))

    def linked(self, field: Field, quantifier: Quantifier, target: Table, depth: int) -> Filter:
        self.need("(")
        self.links += 1
        if self.links > MAX_LINKS:
            self.fail(f"at most {MAX_LINKS} links from one to the next", "too_deep")
        outer, self.table = self.table, target
        part = self.condition(depth + 1)
        self.table = outer
        self.links -= 1
        self.need(")")
        return Linked(field, quantifier, target, part)

    def values(self, operator: Operator) -> list[str]:
        if not self.take("("):
            self.fail(f"the operator {operator.value!r} takes a list here, as (a,b)")
        if self.take(")"):
            return []
        found = [self.value()]
        while self.take(","):
            found.append(self.value())
            if len(found) > MAX_VALUES:
                self.fail(f"at most {MAX_VALUES} values", "too_many")
        self.need(")")
        return found

    def value(self) -> str:
        quoted = self.quoted()
        return self.matched(_BARE_VALUE, "a value") if quoted is None else quoted

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

    def fit(self, check: Callable[[], T]) -> T:
        try:
            return check()
        except Unfit as unfit:
            self.fail(unfit.words, unfit.code)

    def fail(self, detail: str, code: str = "syntax") -> NoReturn:
        error: BadRequest = refusal("filter", code, f"{detail} (at character {self.at + 1})")
        raise error
