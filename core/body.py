"""The body of a write: checked on its bytes, by an adapter compiled once per table version."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, NotRequired, Required

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from core import keys
from core.errors import BadRequest, Fault, Invalid
from core.ids import UlidStr
from core.record import Table
from core.schema.closed import nearest, pointer
from core.schema.types.casting import literal

MAX_RECORDS = 1_000
MAX_FAULTS = 50
_COMPILED = 256
"""How many adapters are kept: each of 20 fields holds about 126 KB."""
_STRICT = ConfigDict(extra="forbid", strict=True)
_SPACED_KEY_END = re.compile(rb'"\s+:')


class Write(StrEnum):
    """What a body is for, which decides what it must hold."""

    CREATE = "create"
    REPLACE = "replace"
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class Body:
    """A body that was checked: its records, whether it was one by itself, and its bytes.

    What is written are the bytes; among the values that were read from them may be Decimals, in JSON values too.
    """

    raw: bytes
    one: bool
    records: list[dict[str, Any]]

    @property
    def present(self) -> frozenset[str]:
        """The names of all fields that some record has."""
        return frozenset().union(*(record["fields"] for record in self.records))

    @property
    def is_uniform(self) -> bool:
        """Whether all records have the same fields."""
        first = self.records[0]["fields"].keys()
        return all(record["fields"].keys() == first for record in self.records)


def read(table: Table, write: Write, raw: bytes) -> Body:
    """Return the body in `raw`: `{"fields"}` or `{"records"}`; refuses what is wrong, with pointers."""
    try:
        value = _checked(table, adapter(table, write), raw)
    except ValidationError as error:
        raise _refusal(error, table) from None
    one = value.get("fields")
    if (one is None) == ("records" not in value):
        detail = "a body has either `fields` for one record or `records` for many"
        raise Invalid(detail, (Fault("", "one_or_many", detail),))
    body = Body(raw, True, [value]) if one is not None else Body(raw, False, value["records"])
    if _count_key_ends(raw) != _count_keys(body, _nesting(table)):
        keys.refuse_repeated(raw)
    if not body.one and write is not Write.CREATE:
        _refuse_twins(body.records)
    return body


def _checked(table: Table, check: TypeAdapter[dict[str, Any]], raw: bytes) -> dict[str, Any]:
    """Return what `check` makes of `raw`, reading numbers digit by digit where a float might not hold one."""
    for has_doubt in _doubts(table):
        if has_doubt(raw):
            break
    else:
        return check.validate_json(raw)
    try:
        check.validate_json(raw)
    except ValidationError as error:
        if _is_unreadable(error):
            raise
    return check.validate_python(json.loads(raw, parse_float=literal))


@lru_cache(maxsize=_COMPILED)
def _doubts(table: Table) -> tuple[Callable[[bytes], object], ...]:
    doubts = sorted({doubt for field in table.writable for doubt in field.type.doubtful})
    return tuple(re.compile(doubt).search for doubt in doubts)


@lru_cache(maxsize=_COMPILED)
def adapter(table: Table, write: Write) -> TypeAdapter[dict[str, Any]]:
    """Return what checks a body; its JSON Schema is the body's in OpenAPI."""
    fields: dict[str, Any] = {}
    for field in table.writable:
        value = field.type.annotation(field.options)
        if not field.required:
            fields[field.name] = NotRequired[value | None]
        else:
            fields[field.name] = NotRequired[value] if write is Write.MERGE else Required[value]
    record = _closed("Fields", fields)
    item: dict[str, Any] = {"fields": Required[record]}
    if write is not Write.CREATE:
        item |= {"id": Required[UlidStr], "version": NotRequired[Annotated[int, Field(ge=1)]]}
    one: Any = _closed("Item", item)
    items = Annotated[list[one], Field(min_length=1, max_length=MAX_RECORDS)]
    return TypeAdapter(_closed("Body", {"fields": NotRequired[record], "records": NotRequired[items]}))


def _closed(name: str, members: Mapping[str, Any]) -> Any:
    made = TypedDict(name, dict(members))  # type: ignore[misc]  # noqa: UP013
    setattr(made, "__pydantic_config__", _STRICT)  # noqa: B010  (no declared attribute of a TypedDict)
    return made


def _count_key_ends(raw: bytes) -> int:
    """Return how often a key might end: inside of strings too, so never less often than there are keys."""
    ends = raw.count(b'":')
    # Where each colon follows a quote at once, none follows one at a distance.
    return ends if ends == raw.count(b":") else ends + len(_SPACED_KEY_END.findall(raw))


@lru_cache(maxsize=_COMPILED)
def _nesting(table: Table) -> tuple[str, ...]:
    return tuple(field.name for field in table.writable if field.type.cast == "jsonb")


def _count_keys(body: Body, nesting: tuple[str, ...]) -> int:
    """Return how many keys were read, those in the fields `nesting` included; equal ones count once."""
    count = 1 if body.one else 1 + sum(map(len, body.records))
    for record in body.records:
        fields = record["fields"]
        count += len(fields)
        for name in nesting:
            count += _count_inner(fields.get(name))
    return count


def _count_inner(value: Any) -> int:
    """Count the keys inside of a JSON value, whose depth was checked."""
    if type(value) is dict:
        return len(value) + sum(map(_count_inner, value.values()))
    return sum(map(_count_inner, value)) if type(value) is list else 0


def _refuse_twins(records: list[dict[str, Any]]) -> None:
    first: dict[str, int] = {}
    for place, record in enumerate(records):
        other = first.setdefault(record["id"], place)
        if other != place:
            detail = f"{record['id']} is here twice"
            twins = tuple(
                Fault(pointer("records", n, "id"), "repeated_record", detail) for n in (other, place)
            )
            raise Invalid(detail, twins)


def _is_unreadable(error: ValidationError) -> bool:
    return error.error_count() == 1 and error.errors(include_url=False)[0]["type"] == "json_invalid"


def _refusal(error: ValidationError, table: Table) -> Invalid | BadRequest:
    found = error.errors(include_url=False, include_input=False)[:MAX_FAULTS]
    if _is_unreadable(error):
        detail = found[0]["msg"]
        return BadRequest(detail, (Fault("", "json_invalid", detail),), code="json_invalid")
    faults = tuple(_fault(item["loc"], item["type"], item["msg"], table) for item in found)
    return Invalid(f"{faults[0].pointer or 'the body'}: {faults[0].detail}", faults)


def _fault(loc: tuple[int | str, ...], kind: str, message: str, table: Table) -> Fault:
    where = pointer(*loc)
    if kind == "extra_forbidden":
        if "fields" in loc[:-1]:
            if (computed := table.by_name.get(str(loc[-1]))) is not None and not computed.type.writable:
                detail = f"{computed.name!r} ({computed.type.name}) is computed and cannot be written"
                return Fault(where, "read_only_field", detail)
            return Fault(where, "unknown_field", nearest("field", str(loc[-1]), table.by_name))
        known = ("fields", "records") if len(loc) == 1 else ("id", "fields", "version")
        return Fault(where, "unknown_member", nearest("member", str(loc[-1]), known))
    if kind == "missing":
        return Fault(where, "required", "required")
    return Fault(where, kind, message.removeprefix("Value error, "))
