"""One page of a list, however its query was spelled: from a cursor to the next."""

from datetime import UTC, datetime
from typing import NamedTuple

from pydantic_core import from_json

from api.data.requests import RecordRequest
from api.paging import Unusable, gone
from core import record, view
from core.errors import NotFound, StaleSchema
from core.filter import Filter
from core.filter import parse as parse_filter
from core.view import Shown
from db.data import records
from db.data.listing import Listing, Projection, Sort
from db.data.records import Call

EXACT = "exact"
COUNT_MAX_S = 2.0
"""How long PostgreSQL counts for one call."""
TOOK_TOO_LONG, BUSY = "took_too_long", "busy"
"""Why a total is null."""


class Place(NamedTuple):
    """Where a page begins: the query as it was meant when its first page was asked for, and when that was."""

    query: Listing
    after: list[str | None] | None
    asked_at_ms: int


async def page(
    request: RecordRequest,
    call: Call,
    query: Listing,
    limit: int,
    cursor: str | None,
    count: str | None = None,
) -> bytes:
    """Return a page of records and the cursor of the next, with the total where `count` asks for it."""
    place = placed(request, query, cursor)
    found = await records.page(call, place.query, place.after, limit)
    total = b"" if count is None else await _total(request, call, place.query)
    following = b"null"
    if found.hint is not None:
        following = b'"%b"' % cursor_at(request, place, from_json(found.hint)).encode()
    # At once: a page is large, and each step would copy it.
    return b"".join((b'{"records":', found.body, b',"next_cursor":', following, total, b"}"))


def placed(request: RecordRequest, query: Listing, cursor: str | None) -> Place:
    """Return where the page begins that `cursor` asks for; raises Gone where it is none of this query's."""
    after, asked_at_ms = None, request.trace.occurred_at_ms
    if cursor is not None:
        after = request.parts.cursors.resume(query.query_key, cursor)
        if query.is_relative and isinstance(after, list) and after:
            *after, asked = after
            asked_at_ms = int(asked)
        if not record.is_position(after, query.order):
            raise gone(Unusable.FOREIGN)
    if query.is_relative:
        query = query.at(datetime.fromtimestamp(asked_at_ms / 1_000, UTC))
    return Place(query, after, asked_at_ms)


def cursor_at(request: RecordRequest, place: Place, after: list[str | None]) -> str:
    """Return the cursor of the page after a record of the query that `place` belongs to."""
    position = [*after, str(place.asked_at_ms)] if place.query.is_relative else after
    return request.parts.cursors.write(place.query.query_key, position)


async def viewed(
    call: Call,
    name: str,
    sort: Sort,
    condition: str | Filter | None,
    fields: Projection,
    timezone: str | None = None,
) -> Listing:
    """Return the list's query through a view: the condition is added to the view's, sort and fields replace its own.

    It is not kept for later, as a view's filter may be large. Days begin where they do in `timezone`, the view's too.
    """
    given = {"sort": sort, "fields": fields}
    without = [member for member, value in given.items() if value is not None]
    shown = await _shown(call, name, without, timezone)
    tree = parse_filter(condition, call.table) if isinstance(condition, str) else condition
    return Listing(
        call.table,
        shown.order if sort is None else sort,
        view.both(shown.condition, tree),
        shown.fields if fields is None else fields,
    )


async def _shown(call: Call, name: str, without: list[str], timezone: str | None) -> Shown:
    try:
        found = view.find(call.base.views.get(call.table.id, ()), name)
    except NotFound:
        # It may be newer than what we know.
        if await call.catalog.is_old(call.home, call.claims, call.base):
            raise StaleSchema("the schema is changing") from None
        raise
    return view.read(found, call.table, call.base.tables, without=without, timezone=timezone)


async def _total(request: RecordRequest, call: Call, query: Listing) -> bytes:
    counts, tenant_id = request.parts.counts, call.claims.tenant_id
    if not counts.has_room(tenant_id):
        return b',"total":null,"total_reason":"%s"' % BUSY.encode()
    with counts.room(tenant_id):
        total = await records.total(call, query, COUNT_MAX_S)
    if total is None:
        return b',"total":null,"total_reason":"%s"' % TOOK_TOO_LONG.encode()
    return b',"total":%d' % total
