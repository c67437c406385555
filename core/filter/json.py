"""The spelling in JSON: `{"and": [{"field": "Status", "op": "eq", "value": "open"}, {"not": {…}}]}`."""

import json
from collections.abc import Iterable, Mapping
from typing import Any as Anything
from typing import NoReturn

from pydantic_core import from_json

from core.errors import BadRequest, Fault
from core.filter import operands
from core.filter.operands import NULLS, Unfit
from core.filter.tree import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LINKS,
    All,
    Any,
    Compare,
    Filter,
    Linked,
    Not,
    Value,
)
from core.record import Field, Table
from core.schema.closed import nearest, pointer
from core.schema.types import Operator
from core.schema.types.base import MATCHING

_GROUPS = ("and", "or", "not")
_COMPARE = ("field", "op", "value")
_NULL_WORDS = {value: word for word, value in NULLS.items()}
Place = tuple[str | int, ...]


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class Twice(dict[str, Anything]):
    """An object in which a key stands twice."""

    key: str


def loads(raw: bytes) -> Anything:
    """Return the JSON in a body, its numbers as they were written; refuses what cannot be read."""
    try:
        from_json(raw, allow_inf_nan=False)  # its depth is bounded, and it is strict about UTF-8
    except ValueError as error:
        detail = f"this is not JSON: {error}"
        raise BadRequest(detail, (Fault("", "json_invalid", detail),), code="json_invalid") from None
    return json.loads(raw.decode(), parse_int=Number, parse_float=Number, object_pairs_hook=_made)


def read(value: Anything, table: Table, place: Place, *, zone: str, tables: Mapping[str, Table]) -> Filter:
    """Return the tree that `value`, of `loads`, spells; refuses what `table` lacks, with a pointer below `place`."""
    return _Reader(zone, tables).condition(value, table, place, 1, 0)


def members(value: Anything, known: Iterable[str], place: Place) -> dict[str, Anything]:
    """Return an object that has no member but those; refuses anything else."""
    known = tuple(known)
    if not isinstance(value, dict):
        refuse(place, "not_an_object", f"an object with {', '.join(known)} is expected")
    if isinstance(value, Twice):
        refuse((*place, value.key), "duplicate_key", f"the key {value.key[:100]!r} stands twice")
    for name in value:
        if name not in known:
            refuse((*place, name), "unknown_member", nearest("member", name, known))
    return value


def refuse(place: Place, code: str, words: str) -> NoReturn:
    """Refuse what stands at `place` in the body."""
    where = pointer(*place)
    raise BadRequest(f"{where or 'the body'}: {words}", (Fault(where, code, words),), code="invalid_query")


def spelled(tree: Filter) -> str:
    """Return the JSON of a tree, which `read` takes for an equal one."""
    match tree:
        case Compare(field, operator, values):
            word = "is" if operator is Operator.IS_NULL else operator.value
            texts = [_spelled(field, operator, value) for value in values]
            value = f"[{','.join(texts)}]" if operands.takes_list(field, operator) else texts[0]
            return f'{{"field":{json.dumps(field.name)},"op":"{word}","value":{value}}}'
        case Not(part):
            return f'{{"not":{spelled(part)}}}'
        case All(parts):
            return f'{{"and":[{",".join(map(spelled, parts))}]}}'
        case Any(parts):
            return f'{{"or":[{",".join(map(spelled, parts))}]}}'
        case Linked(field, quantifier, _, part):
            return f'{{"field":{json.dumps(field.name)},"{quantifier.value}":{spelled(part)}}}'


def _spelled(field: Field, operator: Operator, value: Value) -> str:
    if not isinstance(value, str):
        return json.dumps(value.word)
    if operator is Operator.IS_NULL:
        return json.dumps(_NULL_WORDS[value])
    return json.dumps(value) if _is_text(field, operator) else value


def _is_text(field: Field, operator: Operator) -> bool:
    """Whether a value is spelled as a string."""
    return field.type.quoted or operands.is_set(field) or operator in MATCHING


def _made(pairs: list[tuple[str, Anything]]) -> dict[str, Anything]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice, seen = Twice(found), set()
    for key, _ in pairs:
        if key in seen:
            twice.key = key
        seen.add(key)
    return twice


class _Reader:
    """A reader of the spelling in JSON; its recursion ends at the bound of depth."""

    def __init__(self, zone: str, tables: Mapping[str, Table]) -> None:
        self.zone = zone
        self.tables = tables
        self.count = 0

    def condition(self, value: Anything, table: Table, place: Place, depth: int, links: int) -> Filter:
        if depth > MAX_DEPTH:
            refuse(place, "too_deep", f"nested more than {MAX_DEPTH} deep")
        self.count += 1
        if self.count > MAX_CONDITIONS:
            refuse(place, "too_many", f"at most {MAX_CONDITIONS} conditions")
        if isinstance(value, dict):
            for group in _GROUPS:
                if group in value:
                    inner = members(value, (group,), place)[group]
                    return self.group(group, inner, table, (*place, group), depth, links)
            if "field" in value:
                return self.compare(value, table, place, depth, links)
        members(value, (*_GROUPS, *_COMPARE), place)
        refuse(place, "required", "a condition has either field, op and value, or one of and, or, not")

    def group(
        self, group: str, inner: Anything, table: Table, place: Place, depth: int, links: int
    ) -> Filter:
        if group == "not":
            return Not(self.condition(inner, table, place, depth + 1, links))
        if not isinstance(inner, list) or not inner:
            refuse(place, "not_a_list", f"{group} takes a list of at least one condition")
        parts = tuple(
            self.condition(part, table, (*place, n), depth + 1, links) for n, part in enumerate(inner)
        )
        return All(parts) if group == "and" else Any(parts)

    def compare(
        self, value: dict[str, Anything], table: Table, place: Place, depth: int, links: int
    ) -> Filter:
        name = value["field"]
        if not isinstance(name, str) or isinstance(name, Number):
            refuse((*place, "field"), "not_a_text", "the name of a field is expected")
        try:
            field = operands.field_of(table, name)
            target = operands.linked_table(field, self.tables)
            if target is not None:
                for word, quantifier in operands.QUANTIFIERS.items():
                    if word in value:
                        members(value, ("field", word), place)
                        if links >= MAX_LINKS:
                            refuse(place, "too_deep", f"at most {MAX_LINKS} links from one to the next")
                        inner = self.condition(value[word], target, (*place, word), depth + 1, links + 1)
                        return Linked(field, quantifier, target, inner)
            members(value, _COMPARE, place)
            for member in _COMPARE:
                if member not in value:
                    refuse((*place, member), "required", f"{member} is missing")
            word = value["op"]
            if not isinstance(word, str) or isinstance(word, Number):
                refuse((*place, "op"), "not_a_text", "an operator is expected")
            operator = operands.operator_of(field, word, links=target is not None)
            texts = self.texts(field, operator, value["value"], (*place, "value"))
            return operands.compare(field, operator, texts, self.zone)
        except Unfit as unfit:
            many = isinstance(value.get("value"), list) and unfit.place is not None
            at = (*place, unfit.part, *((unfit.place,) if many else ()))
            refuse(tuple(part for part in at if part is not None), unfit.code, unfit.words)

    def texts(self, field: Field, operator: Operator, value: Anything, place: Place) -> list[str]:
        if not operands.takes_list(field, operator):
            return [self.text(field, operator, value, place)]
        if not isinstance(value, list):
            refuse(place, "not_a_list", f"{operator.value} takes a list of values here")
        return [self.text(field, operator, one, (*place, n)) for n, one in enumerate(value)]

    def text(self, field: Field, operator: Operator, value: Anything, place: Place) -> str:
        is_text = isinstance(value, str) and not isinstance(value, Number)
        if operator is Operator.IS_NULL or _is_text(field, operator):
            if is_text:
                return str(value)
            refuse(place, "not_a_text", f"{operator.value} of a {field.type.name} takes a text here")
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, Number):
            return str(value)
        refuse(
            place, "invalid_value", f"a {field.type.name} is compared with a number, true or false, unquoted"
        )
