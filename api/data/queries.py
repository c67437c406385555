"""Queries in a body: what a list answers, for filters that do not fit a URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from api.data import describe, pages
from api.data.lane import RecordRoute
from api.data.requests import JsonBytes, RecordRequest
from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from core import filter as filters
from core.errors import BadRequest, Fault, TooLarge
from core.filter import Filter, operands
from core.filter.json import Number, loads, members, refuse
from core.record import Table
from core.schema.closed import nearest
from db.data import explaining
from db.data.listing import Listing
from db.data.records import Call

MAX_QUERY_BYTES = 100_000
router = APIRouter(
    prefix="/bases/{base_id}/tables/{table_id}/records", tags=["records"], route_class=RecordRoute
)
_MEMBERS = ("filter", "sort", "fields", "limit", "cursor", "timezone", "view", "count", "explain")
_DIRECTIONS = {"asc": "", "desc": "-"}


@dataclass(frozen=True)
class Query:
    """A body, its members of the kinds that they must be; `sort` and `fields` as a URL spells them."""

    condition: Any
    has_condition: bool
    sort: str | None
    fields: str | None
    limit: int
    cursor: str | None
    timezone: str | None
    view: str | None
    count: str | None
    explain: bool


@router.post("/query", **describe.QUERY)
async def query_records(request: RecordRequest) -> JsonBytes:
    """List records by a query in the body, a page at a time.

    It answers what `GET` answers to the same query, and their cursors are interchangeable. Nothing is written, so
    the scope `records:read` is enough, and an `Idempotency-Key` has no meaning.
    """
    opened = await request.open(write=False)
    request.parameters()
    raw = await request.content()
    if len(raw) > MAX_QUERY_BYTES:
        raise TooLarge(f"a query has at most {MAX_QUERY_BYTES} bytes")
    value = loads(raw)

    async def act(call: Call) -> bytes:
        query = read(value, call.table)
        try:
            listing = await _listing(call, query)
        except BadRequest as refusal:
            raise _pointed(refusal) from None
        if query.explain:
            return await explained(request, call, listing, query.limit, query.cursor)
        return await pages.page(request, call, listing, query.limit, query.cursor, query.count)

    return JsonBytes(await opened.done(act))


def read(value: Any, table: Table) -> Query:
    """Return the query in a body; refuses what is wrong, with a pointer."""
    given = members(value, _MEMBERS, ())
    return Query(
        given.get("filter"),
        "filter" in given,
        _sort(given["sort"], table) if "sort" in given else None,
        _fields(given["fields"], table) if "fields" in given else None,
        _limit(given["limit"]) if "limit" in given else DEFAULT_LIMIT,
        _text(given["cursor"], "cursor") if "cursor" in given else None,
        _text(given["timezone"], "timezone") if "timezone" in given else None,
        _text(given["view"], "view") if "view" in given else None,
        _count(given["count"]) if "count" in given else None,
        _flag(given["explain"]) if "explain" in given else False,
    )


def condition(call: Call, given: Mapping[str, str]) -> str | Filter | None:
    """Return the condition that a URL's parameters spell: as text where that says it all, so that it is kept."""
    text, zone = given.get("filter"), given.get("timezone")
    if text is None or (zone is None and not any(map(operands.is_link, call.table.fields))):
        if zone is not None:
            filters.check_timezone(zone)
        return text
    return filters.parse(text, call.table, timezone=zone, tables=call.base.tables)


async def explained(
    request: RecordRequest, call: Call, listing: Listing, limit: int, cursor: str | None
) -> bytes:
    """Return how PostgreSQL would answer the page, instead of the page."""
    place = pages.placed(request, listing, cursor)
    return await explaining.explain(call, place.query, place.after, limit)


async def _listing(call: Call, query: Query) -> Listing:
    """Return the query on its table, not kept for later: a body's filter may be large."""
    zone, tree = filters.check_timezone(query.timezone), None
    if query.has_condition:
        tree = filters.read(query.condition, call.table, ("filter",), zone=zone, tables=call.base.tables)
    if query.view is None:
        return Listing(call.table, query.sort, tree, query.fields)
    return await pages.viewed(call, query.view, query.sort, tree, query.fields, zone)


def _sort(value: Any, table: Table) -> str:
    keys = []
    for n, item in enumerate(_list(value, "sort")):
        given = members(item, ("field", "direction"), ("sort", n))
        name = given.get("field")
        if not _is_text(name) or name not in table.readable:
            refuse(("sort", n, "field"), "unknown_field", nearest("field", str(name), table.readable))
        direction = given.get("direction", "asc")
        if not _is_text(direction) or direction not in _DIRECTIONS:
            words = nearest("direction", str(direction), _DIRECTIONS)
            refuse(("sort", n, "direction"), "unknown_direction", words)
        keys.append(_DIRECTIONS[direction] + _quoted(name))
    return ",".join(keys)


def _fields(value: Any, table: Table) -> str:
    for n, name in enumerate(_list(value, "fields")):
        if not _is_text(name) or name not in table.by_name:
            refuse(("fields", n), "unknown_field", nearest("field", str(name), table.by_name))
    return ",".join(map(_quoted, value))


def _list(value: Any, member: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        refuse((member,), "not_a_list", "a list of at least one is expected")
    return value


def _limit(value: Any) -> int:
    if not (
        isinstance(value, Number) and value.isdigit() and len(value) <= 4 and 1 <= int(value) <= MAX_LIMIT
    ):
        refuse(("limit",), "out_of_range", f"1 to {MAX_LIMIT}")
    return int(value)


def _text(value: Any, member: str) -> str:
    if not _is_text(value):
        refuse((member,), "not_a_text", "a text is expected")
    return str(value)


def _count(value: Any) -> str:
    if value != pages.EXACT:
        refuse(("count",), "unknown_count", f"{pages.EXACT!r}, or nothing")
    return pages.EXACT


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        refuse(("explain",), "not_a_boolean", "true or false is expected")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _pointed(refusal: BadRequest) -> BadRequest:
    """Return the refusal of a parameter as that of the member of its name."""
    faults = tuple(Fault("/" + f.pointer.lstrip("/"), f.code, f.detail) for f in refusal.faults)
    return BadRequest(refusal.detail, faults, code="invalid_query")
