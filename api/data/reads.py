"""Reads of the records of a table: check, one call, bytes out."""

import json

from fastapi import APIRouter

from api.data import describe
from api.data.lane import RecordRoute
from api.data.requests import JsonBytes, RecordRequest
from api.paging import DEFAULT_LIMIT, MAX_LIMIT, invalid_cursor
from core import record
from core.record import refusal
from db.data import records
from db.data.homes import Answer
from db.data.listing import listing
from db.data.records import Call

MAX_DELETES = 100
router = APIRouter(
    prefix="/bases/{base_id}/tables/{table_id}/records", tags=["records"], route_class=RecordRoute
)
_HIT = (b"idempotency-hit", b"true")


@router.get("", **describe.LIST)
async def list_records(request: RecordRequest) -> JsonBytes:
    """List records, a page at a time.

    The order is that of creation unless `sort` says otherwise. A cursor is good for its table, sort and filter only;
    limit and fields may change from page to page. Records that appear or vanish between two pages are met at most
    once, and no other is skipped.
    """
    opened = await request.open(write=False)
    given = request.parameters("limit", "sort", "filter", "fields", "cursor")
    limit = _limit(given.get("limit"))

    async def act(call: Call) -> bytes:
        query = listing(call.table, given.get("sort"), given.get("filter"), given.get("fields"))
        after = None
        if (cursor := given.get("cursor")) is not None:
            after = request.parts.cursors.read(query.query_key, cursor)
            if not record.is_position(after, query.order):
                raise invalid_cursor()
        page = await records.page(call, query, after, limit)
        if page.hint is None:
            return b'{"records":' + page.body + b',"next_cursor":null}'
        following = request.parts.cursors.write(query.query_key, json.loads(page.hint))
        return b'{"records":' + page.body + b',"next_cursor":"' + following.encode() + b'"}'

    return JsonBytes(await opened.done(act))


@router.get("/{record_id}", **describe.GET)
async def get_record(request: RecordRequest) -> JsonBytes:
    """Read one record. Its ETag is its version; with `If-None-Match` a record that has not changed answers 304."""
    opened = await request.open(write=False)
    record_id = request.record_id
    names = request.parameters("fields").get("fields")

    async def act(call: Call) -> Answer:
        return await records.get(call, record_id, names)

    found = await opened.done(act)
    tag = (b"etag", b'"v' + (found.hint or b"") + b'"')
    if request.has_version(int(found.hint or 0)):
        return JsonBytes(b"", 304, [tag])
    return JsonBytes(found.body, 200, [tag])


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT):
        raise refusal("limit", "out_of_range", f"1 to {MAX_LIMIT}")
    return int(text)
