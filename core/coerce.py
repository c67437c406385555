"""Typecast: a body whose values its fields refuse, with what those values stand for in their place."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from core import body as bodies
from core import keys
from core.body import Body, Write
from core.errors import Fault, Invalid
from core.record import Table
from core.schema.types import FieldType, Mode, Options, checker
from core.schema.types.casting import literal

MAX_COERCIONS = 10_000
"""How many values one body may have changed, each of which is told."""


@dataclass(frozen=True, slots=True)
class Coercion:
    """One value that was turned into another: in which record of the body (0 where it is one by itself), and why."""

    record: int
    field: str
    given: Any
    made: Any
    rule: str


def read(table: Table, write: Write, raw: bytes, mode: Mode) -> tuple[Body, tuple[Coercion, ...]]:
    """Return the body in `raw` and the values of it that were turned into others, in the body's order.

    A body that `core.body.read` takes is returned as it is, bytes and all. In any other, each value that its field
    refuses is replaced by what it stands for under `mode`, where it stands for anything, and the result goes through
    `core.body.read` again, which refuses what is still wrong with the same errors and pointers: a typecast never lets
    anything in that could not have been sent. `Body.raw` has the new values, and is what is to be written; an
    Idempotency-Key belongs to the bytes that were sent. Raises what `core.body.read` raises.
    """
    try:
        return bodies.read(table, write, raw), ()
    except Invalid:
        if mode is Mode.OFF:
            raise
    keys.refuse_repeated(raw)
    value = json.loads(raw, parse_float=literal)
    made: list[Coercion] = []
    for coercion, fields in _coerced(table, value, mode):
        if len(made) == MAX_COERCIONS:
            detail = f"more than {MAX_COERCIONS} values would have to be typecast: send fewer records at once"
            raise Invalid(detail, (Fault("", "too_many_coercions", detail),))
        fields[coercion.field] = coercion.made
        made.append(coercion)
    return bodies.read(table, write, dumps(value) if made else raw), tuple(made)


def report(coercions: Sequence[Coercion]) -> bytes:
    """Return the JSON array that tells a caller of each coercion: `[{"record", "field", "from", "to", "rule"}]`."""
    return dumps(
        [
            {"record": c.record, "field": c.field, "from": c.given, "to": c.made, "rule": c.rule}
            for c in coercions
        ]
    )


def coerce(field_type: FieldType[Any], options: Options, value: Any, mode: Mode) -> tuple[Any, str | None]:
    """Return what `value` stands for in a field, and by which rule; without a rule `value` itself.

    `value` is parsed JSON, its fractions as Decimals. With a rule the result is one that the field takes, or null,
    which a lenient mode makes of an empty text: so to coerce twice is to coerce once. It has no rule where the field
    takes it as it is, and where it stands for nothing.
    """
    return _Caster(field_type, options, mode).cast(value)[:2]


def dumps(value: Any) -> bytes:
    """Return the JSON of parsed JSON, Decimals to the last digit."""
    return "".join(_written(value)).encode()


class _Caster:
    """The casts of one field; it holds the check, since to look one up costs more than to ask it."""

    def __init__(self, field_type: FieldType[Any], options: Options, mode: Mode) -> None:
        self._type, self._options, self._mode = field_type, options, mode
        self._accepts = checker(field_type, options)

    def cast(self, value: Any) -> tuple[Any, str | None, bool]:
        """Return a value, the rule by which it is another than before, and whether the field may take it."""
        if self._mode is Mode.OFF or value is None or self._accepts(value):
            return value, None, True
        for candidate, rule in self._type.casts(value, self._options, self._mode):
            if self._accepts(candidate):
                return candidate, rule, True
        if self._mode is Mode.LENIENT and isinstance(value, str) and not value.strip():
            return None, "empty", True
        return value, None, False


@lru_cache(maxsize=64)
def _casters(table: Table, mode: Mode) -> dict[str, _Caster]:
    return {field.name: _Caster(field.type, field.options, mode) for field in table.writable}


def _coerced(table: Table, value: Any, mode: Mode) -> Iterator[tuple[Coercion, dict[str, Any]]]:
    casters = _casters(table, mode)
    hopeless = 0
    for place, fields in _records(value):
        for name, given in [*fields.items()]:
            if name not in casters:
                continue
            made, rule, fits = casters[name].cast(given)
            if rule is not None:
                yield Coercion(place, name, given, made, rule), fields
            hopeless += not fits
            if hopeless == bodies.MAX_FAULTS:  # no more faults than these are told
                return


def _records(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the fields of each record, as far as the body has the shape of one."""
    if not isinstance(value, dict):
        return
    records = value.get("records", [value])
    for place, record in enumerate(records if isinstance(records, list) else ()):
        if place == bodies.MAX_RECORDS:
            return
        if isinstance(record, dict) and isinstance(record.get("fields"), dict):
            yield place, record["fields"]


def _written(value: Any) -> Iterator[str]:
    if isinstance(value, Decimal):
        yield str(value)
    elif isinstance(value, dict):
        for place, (name, inner) in enumerate(value.items()):
            yield f"{',' if place else '{'}{json.dumps(name, ensure_ascii=False)}:"
            yield from _written(inner)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        yield "["
        for place, inner in enumerate(value):
            if place:
                yield ","
            yield from _written(inner)
        yield "]"
    else:
        yield json.dumps(value, ensure_ascii=False)
