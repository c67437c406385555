"""Views as lists read them: the filter, order and fields in a definition; the rest of it is the portal's business."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import filter as filters
from core.errors import BadRequest, Fault, Invalid, NotFound, PlanebaseError
from core.filter import Filter
from core.filter import json as tree_json
from core.record import MAX_SORT_KEYS, Field, SortKey, Table, parse_sort, split_names
from core.schema.closed import nearest, pointer

READ_MEMBERS = ("filter", "sort", "fields")
"""What a list understands of a definition."""
_WORDS = "this view's definition no longer fits its table"


@dataclass(frozen=True, slots=True)
class View:
    """A view of a table; of its definition only the members that lists read, as JSON."""

    id: str
    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a view asks for; None where it says nothing."""

    condition: Filter | None
    order: tuple[SortKey, ...] | None
    fields: tuple[Field, ...] | None


def find(views: Sequence[View], wanted: str) -> View:
    """Return the view with this id or name; NotFound with the nearest name."""
    for view in views:
        if view.id == wanted:
            return view
    for view in views:
        if view.name == wanted:
            return view
    words = nearest("view", wanted, [view.name for view in views])
    raise NotFound(f"view: {words}", (Fault("view", "unknown_view", words),))


def read(
    view: View,
    table: Table,
    tables: Mapping[str, Table],
    *,
    without: Sequence[str] = (),
    timezone: str | None = None,
) -> Shown:
    """Return what `view` asks for, but for the members in `without`; Invalid with a pointer into its definition."""
    zone = filters.check_timezone(timezone)
    try:
        definition = tree_json.loads(view.definition.encode())
    except BadRequest as error:
        raise _refused(error, ("definition",)) from None
    wanted = {name: definition.get(name) for name in READ_MEMBERS if name not in without}
    return Shown(
        _condition(wanted.get("filter"), table, tables, zone),
        _order(wanted.get("sort"), table),
        _fields(wanted.get("fields"), table),
    )


def both(first: Filter | None, second: Filter | None) -> Filter | None:
    """Return what is true where both are; one that is not there is true."""
    if first is None or second is None:
        return second if first is None else first
    return filters.All((first, second))


def _condition(value: Any, table: Table, tables: Mapping[str, Table], zone: str) -> Filter | None:
    if value is None:
        return None
    place = ("definition", "filter")
    try:
        if _is_text(value):
            return filters.parse(str(value), table, timezone=zone, tables=tables)
        return filters.read(value, table, place, zone=zone, tables=tables)
    except PlanebaseError as error:
        raise _refused(error, place) from None


def _order(value: Any, table: Table) -> tuple[SortKey, ...] | None:
    if value is None or value == []:
        return None
    place: tuple[str | int, ...] = ("definition", "sort")
    if not _is_text(value) and not isinstance(value, list):
        raise _wrong(place, "not_a_list", "a text like the parameter `sort`, or a list of keys")
    if len(value) > MAX_SORT_KEYS and not _is_text(value):
        raise _wrong(place, "too_many", f"at most {MAX_SORT_KEYS} sort keys")
    try:
        keys = []
        for n, key in enumerate([] if _is_text(value) else value):
            place = ("definition", "sort", n)
            keys.append(_key(key, place))
            parse_sort(keys[-1], table)
        place = ("definition", "sort")
        return parse_sort(",".join(keys) if keys else value, table)
    except PlanebaseError as error:
        raise _refused(error, place) from None


def _key(value: Any, place: Sequence[str | int]) -> str:
    """Return one key as the parameter spells it: as it is there, or of `{"field": …, "direction": "asc" | "desc"}`."""
    if _is_text(value) and len(split_names(value, "sort")) == 1:
        return str(value)
    if isinstance(value, dict):
        given = tree_json.members(value, ("field", "direction"), tuple(place))
        name, direction = given.get("field"), given.get("direction", "asc")
        if _is_text(name) and direction in ("asc", "desc"):
            escaped = str(name).replace("\\", "\\\\").replace('"', '\\"')
            return f'{"-" if direction == "desc" else ""}"{escaped}"'
    raise _wrong(
        place, "not_a_key", "the name of one field, with a minus before it or a direction of asc or desc"
    )


def _fields(value: Any, table: Table) -> tuple[Field, ...] | None:
    if value is None:
        return None
    place: tuple[str | int, ...] = ("definition", "fields")
    if not isinstance(value, list):
        raise _wrong(place, "not_a_list", "a list of names of fields")
    for n, name in enumerate(value):
        if not _is_text(name) or name not in table.by_name:
            raise _wrong((*place, n), "unknown_field", nearest("field", str(name), table.by_name))
    wanted = set(value)
    return tuple(field for field in table.fields if field.name in wanted)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, tree_json.Number)


def _wrong(place: Sequence[str | int], code: str, detail: str) -> Invalid:
    where = pointer(*place)
    return Invalid(f"{_WORDS}: {where}: {detail}", (Fault(where, code, detail),), code="invalid_view")


def _refused(error: PlanebaseError, place: Sequence[str | int]) -> Invalid:
    """Return what was said of a parameter as the refusal of a member of the definition."""
    if isinstance(error, Invalid):
        return error
    where = pointer(*place)
    faults = tuple(
        Fault(f.pointer if f.pointer.startswith("/") else where, f.code, f.detail) for f in error.faults
    )
    return Invalid(f"{_WORDS}: {error.detail}", faults, code="invalid_view")
