"""The changes feed: what was written in a base, once and in order, and a wait for what is to come."""

import asyncio
import contextlib

from fastapi import APIRouter

from api.data import describe
from api.data.bases import BaseRequest, BaseRoute
from api.data.requests import JsonBytes, number
from api.data.watches import LONGEST_S, SHORTEST_S, Watches
from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from core.errors import BadRequest, Fault, Gone
from core.record import Field, Table, parse_projection, refusal
from db.data import feed
from db.data.catalog import Base
from db.data.feed import Mark, Page, Place
from db.data.homes import Claims, Home

MAX_WAIT_S = 30
MAX_TABLES = 100
LATEST = "latest"
_LOOK_AT_TOKEN_S = 1.0
_AGAIN = "take a cursor with after=latest, list the tables, then follow from that cursor"

router = APIRouter(tags=["changes"], route_class=BaseRoute)


@router.get("/bases/{base_id}/changes", **describe.CHANGES)
async def list_changes(request: BaseRequest) -> JsonBytes:
    """Read what was written in a base, in an order that misses nothing and never changes.

    Without `after` it begins at the oldest change that is kept; `after=latest` begins now. With `wait` a call that
    has nothing to tell is answered as soon as there is something.
    """
    await request.enter()
    given = request.parameters("after", "limit", "wait", "tables", "fields")
    limit = number(given, "limit", default=DEFAULT_LIMIT, most=MAX_LIMIT)
    wait_s = number(given, "wait", default=0, least=0, most=MAX_WAIT_S)
    watches: Watches = request.app.state.watches
    start = given.get("after")

    async def first(home: Home, claims: Claims, base: Base) -> Page:
        tables, fields = _wanted(base, given.get("tables"), given.get("fields"))
        if start == LATEST:
            return Page([], await feed.latest(home, claims), has_more=False)
        after = None if start is None else _mark(request, claims, start)
        return await feed.read(home, claims, base, after, limit, tables, fields)

    async def following(after: Mark) -> Page:
        async def act(home: Home, claims: Claims, base: Base) -> Page:
            tables, fields = _wanted(base, given.get("tables"), given.get("fields"))
            return await feed.read(home, claims, base, after, limit, tables, fields)

        async with watches.reading:
            return await request.done(act)

    room = watches.room(request.allowed.claims.token_id) if wait_s else contextlib.nullcontext()
    with room:
        try:
            page = await request.done(first)
            until = asyncio.get_running_loop().time() + wait_s
            if wait_s and not page.entries:
                gone = asyncio.create_task(_gone(request))
                pause = 0.0
                try:
                    while not page.entries and await _is_more(request, watches, page, gone, until, pause):
                        page = await following(page.end)
                        # News of other tables only: those are not worth a look each.
                        pause = 0.0 if page.has_more else min(2 * pause + SHORTEST_S, LONGEST_S)
                finally:
                    gone.cancel()
        except Gone as error:
            raise Gone(f"{error.detail}: {_AGAIN}", _fault(error), code=error.reason) from error
    return _answer(request, page)


async def _is_more(
    request: BaseRequest,
    watches: Watches,
    page: Page,
    gone: "asyncio.Future[None]",
    until: float,
    pause_s: float,
) -> bool:
    """Wait until there is more to read; False where the time is over, the client has left, or the process ends."""
    loop = asyncio.get_running_loop()
    if pause_s:
        await asyncio.wait({gone}, timeout=min(pause_s, max(until - loop.time(), 0)))
    is_first = not pause_s
    while not watches.is_draining and not gone.done() and (left := until - loop.time()) > 0:
        if page.has_more:
            return True
        with watches.at(request.allowed.home, request.allowed.claims) as watch:
            if is_first:
                watch.hurry()
            is_first = False
            is_news = await watch.beyond(page.end.place, gone, min(left, _LOOK_AT_TOKEN_S))
            # A token may have been revoked since: that costs a look into memory.
            await request.enter()
        if is_news and not watches.is_draining and not gone.done():
            return True
    return False


async def _gone(request: BaseRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _wanted(
    base: Base, table_ids: str | None, names: str | None
) -> tuple[tuple[Table, ...], tuple[Field, ...] | None]:
    given = [] if table_ids is None else table_ids.split(",")
    if len(given) > MAX_TABLES:
        raise refusal("tables", "too_many", f"at most {MAX_TABLES} tables")
    for table_id in given:
        if table_id not in base.tables:
            raise refusal("tables", "unknown_table", f"there is no table {table_id[:100]!r} in this base")
    tables = tuple(base.tables[table_id] for table_id in dict.fromkeys(given))
    if names is None:
        return tables, None
    if len(tables) != 1:
        raise refusal("fields", "needs_one_table", "fields are those of one table: name it with `tables`")
    return tables, parse_projection(names, tables[0])


def _query(claims: Claims) -> str:
    return f"{claims.tenant_id} {claims.base_id} changes"


def _mark(request: BaseRequest, claims: Claims, cursor: str) -> Mark:
    try:
        generation, xid, seq, at_ms = request.parts.cursors.read(_query(claims), cursor)
    except BadRequest:
        detail = f"after: this is no cursor of this base's changes; {_AGAIN}"
        raise BadRequest(detail, (Fault("after", "invalid_cursor", detail),), code="invalid_cursor") from None
    return Mark(Place(generation, xid, seq), at_ms)


def _answer(request: BaseRequest, page: Page) -> JsonBytes:
    query, cursors = _query(request.allowed.claims), request.parts.cursors

    def written(mark: Mark) -> str:
        return cursors.write(query, [*mark.place, mark.at_ms])

    entries = ",".join(f'{{"cursor":"{written(e.mark)}",{e.json[1:]}' for e in page.entries)
    has_more = "true" if page.has_more else "false"
    end = f'],"next_cursor":"{written(page.end)}","has_more":{has_more}}}'
    return JsonBytes(f'{{"changes":[{entries}{end}'.encode())


def _fault(error: Gone) -> tuple[Fault, ...]:
    return (Fault("after", error.reason, error.detail),)
