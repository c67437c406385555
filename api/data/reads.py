"""Reads of the records of a table: check, one call, bytes out."""

from functools import partial

from fastapi import APIRouter

from api.data import describe, history, pages, queries, streams
from api.data.lane import RecordRoute
from api.data.requests import JsonBytes, RecordRequest, number
from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from core.record import refusal
from db.data import records
from db.data.homes import Answer
from db.data.listing import Listing, listing
from db.data.records import Call

router = APIRouter(
    prefix="/bases/{base_id}/tables/{table_id}/records", tags=["records"], route_class=RecordRoute
)
_QUERY = ("sort", "filter", "timezone", "fields", "view")
"""What says which records, in which order, and what of them; a stream takes the same."""


@router.get("", **describe.LIST)
async def list_records(request: RecordRequest) -> JsonBytes | streams.RecordStream:
    """List records, a page at a time.

    The order is that of creation unless `sort` says otherwise. A cursor is good for its table, sort and filter only;
    limit and fields may change from page to page. Records that appear or vanish between two pages are met at most
    once, and no other is skipped.
    """
    opened = await request.open(write=False)
    if streams.wanted(request):
        given = request.parameters(*_QUERY, "cursor")
        return await streams.begin(request, opened, partial(_query, given=given), given.get("cursor"))
    given = request.parameters(*_QUERY, "cursor", "limit", "count", "as_of", "explain")
    if "as_of" in given:
        return await history.list_as_of(request, opened, given)
    limit = number(given, "limit", default=DEFAULT_LIMIT, most=MAX_LIMIT)
    count = _count(given.get("count"))
    is_explained = _flag(given, "explain")

    async def act(call: Call) -> bytes:
        query = await _query(call, given)
        if is_explained:
            return await queries.explained(request, call, query, limit, given.get("cursor"))
        return await pages.page(request, call, query, limit, given.get("cursor"), count)

    return JsonBytes(await opened.done(act))


@router.get("/{record_id}", **describe.GET)
async def get_record(request: RecordRequest) -> JsonBytes:
    """Read one record. Its ETag is its version; with `If-None-Match` a record that has not changed answers 304."""
    opened = await request.open(write=False)
    record_id = request.record_id
    given = request.parameters("fields", "as_of")
    names, at = given.get("fields"), given.get("as_of")

    async def act(call: Call) -> Answer:
        if at is not None:
            return await history.get_as_of(call, record_id, at, names)
        return await records.get(call, record_id, names)

    found = await opened.done(act)
    tag = (b"etag", b'"v' + (found.hint or b"") + b'"')
    if request.has_version(int(found.hint or 0)):
        return JsonBytes(b"", 304, [tag])
    return JsonBytes(found.body, 200, [tag])


async def _query(call: Call, given: dict[str, str]) -> Listing:
    condition = queries.condition(call, given) if "filter" in given or "timezone" in given else None
    sort, fields = given.get("sort"), given.get("fields")
    if (name := given.get("view")) is not None:
        return await pages.viewed(call, name, sort, condition, fields, given.get("timezone"))
    return listing(call.table, sort, condition, fields)


def _count(text: str | None) -> str | None:
    if text not in (None, pages.EXACT):
        raise refusal("count", "unknown_count", f"{pages.EXACT!r}, or nothing")
    return text


def _flag(given: dict[str, str], name: str) -> bool:
    if given.get(name, "false") not in ("true", "false"):
        raise refusal(name, "not_a_boolean", "true or false")
    return given.get(name) == "true"
