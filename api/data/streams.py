"""A whole table as lines of JSON: a page in memory at a time, and nothing held while the client reads."""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api import problems
from api.data.pages import Place, cursor_at, placed
from api.data.requests import Opened, RecordRequest
from core.errors import Conflict, Fault, PlanebaseError, Unavailable
from core.record import Field
from db.data import records
from db.data.homes import Answer
from db.data.listing import STREAM_RECORDS, Listing
from db.data.records import Call

MEDIA_TYPE = "application/x-ndjson"
MAX_S = 3_600.0
"""How long one stream goes on; its last line then says where to go on."""
PATIENCE_S = 60.0
"""How long a client may take for the next piece."""
PIECE_BYTES = 65_536

_WANTED = re.compile(rb"(?:^|,)\s*application/x-ndjson\s*(?:;([^,]*))?(?:,|$)", re.IGNORECASE)
_NOT_AT_ALL = re.compile(rb"(?:^|;)\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)", re.IGNORECASE)
_BETWEEN = b"], \n ["
"""What PostgreSQL writes between two arrays; a new line stands in no JSON that it makes of anything else."""
_log = structlog.get_logger("data_api")


def wanted(request: RecordRequest) -> bool:
    """Tell whether the caller asks for lines."""
    accept = request.brought.get(b"accept")
    if accept is None or (found := _WANTED.search(accept)) is None:
        return False
    return _NOT_AT_ALL.search(found[1] or b"") is None


async def begin(
    request: RecordRequest, opened: Opened, query_of: Callable[[Call], Awaitable[Listing]], cursor: str | None
) -> "RecordStream":
    """Return the stream of a query, its first page read: what would refuse the query is refused before it begins."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(request.parts.streams.room(str(request.trace.tenant_id)))

        async def act(call: Call) -> tuple[Place, Answer, int]:
            place = placed(request, await query_of(call), cursor)
            return place, await _page(call, place), call.base.catalog

        place, first, catalog = await opened.done(act)
        return RecordStream(request, place, first, catalog, stack.pop_all())


class RecordStream(Response):
    """One record a line, and a last line that tells whether these were all."""

    def __init__(
        self, request: RecordRequest, place: Place, first: Answer, catalog: int, room: contextlib.ExitStack
    ) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = [(b"content-type", MEDIA_TYPE.encode())]
        self._request = request
        self._place = place
        self._page = first
        self._catalog = catalog
        self._room = room
        self._can_resume = True
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pages; each is read when the one before it has been taken."""
        gone = asyncio.ensure_future(_gone(receive))
        try:
            with self._room:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                if await self._all_pages(send, gone):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()

    async def _all_pages(self, send: Send, gone: "asyncio.Future[None]") -> bool:
        """Tell whether the last line was sent; not where nobody reads any more."""
        ends_at = asyncio.get_running_loop().time() + MAX_S
        while await _taken(lines(self._page.body), send, gone):
            self._count += _count(self._page.body)
            if self._page.hint is None:
                return await _taken(b'{"end":true,"count":%d}\n' % self._count, send, gone)
            self._place = self._place._replace(after=json.loads(self._page.hint))
            # Not kept beside the next one.
            self._page = self._page._replace(body=b"")
            problem = await self._next(ends_at)
            if problem is not None:
                return await _taken(problem, send, gone)
        return False

    async def _next(self, ends_at: float) -> bytes | None:
        """Read the next page as a call of its own: token, home and schema as they are now. Returns what kept it."""
        trace = self._request.trace
        known = (trace.tenant_id, trace.token_id)
        try:
            if asyncio.get_running_loop().time() > ends_at:
                raise Unavailable(f"a stream goes on for {MAX_S:.0f} seconds", code="stream_too_long")
            if self._request.app.state.watches.is_draining:
                raise Unavailable("this server goes down; another goes on", code="draining")
            opened = await self._request.open(write=False)
            self._page = await opened.done(self._following)
        except PlanebaseError as error:
            # Whose stream it was, also where the token is nobody's by now.
            trace.tenant_id, trace.token_id = known
            return self._told(problems.answer(error, trace.operation_id))
        except Exception as error:
            _log.error("stream failed", request_id=trace.operation_id, exc_info=error)
            detail = "Something went wrong here; the request id finds it in our log"
            return self._told(Response(problems.problem(500, "internal", detail, trace.operation_id)))
        return None

    async def _following(self, call: Call) -> Answer:
        query = self._place.query
        if call.base.catalog != self._catalog:
            lost = query.lost(call.base.tables)
            self._can_resume = query.can_resume(call.base.tables)
            if lost is not None:
                raise _lost(lost)
            self._catalog = call.base.catalog
        return await _page(call, self._place)

    def _told(self, problem: Response) -> bytes:
        following = "null"
        if self._can_resume and self._place.after is not None:
            following = f'"{cursor_at(self._request, self._place, self._place.after)}"'
        return b'{"problem":' + bytes(problem.body) + b',"next_cursor":' + following.encode() + b"}\n"


def lines(page: bytes) -> bytes:
    """Return a page of arrays, of one record each, as lines."""
    return page[2:-2].replace(_BETWEEN, b"\n") + b"\n" if _count(page) else b""


def _count(page: bytes) -> int:
    return 0 if page == b"[]" else page.count(b"\n") + 1


async def _page(call: Call, place: Place) -> Answer:
    return await records.page(call, place.query, place.after, STREAM_RECORDS, in_lines=True)


async def _taken(body: bytes, send: Send, gone: "asyncio.Future[None]") -> bool:
    """Send `body`, and tell whether the client has taken it, but for what the server and the network hold."""
    # After the last piece an empty one: the server waits before a piece, and not after it.
    for at in (*range(0, len(body), PIECE_BYTES), len(body)):
        piece: Message = {
            "type": "http.response.body",
            "body": body[at : at + PIECE_BYTES],
            "more_body": True,
        }
        try:
            async with asyncio.timeout(PATIENCE_S):
                await send(piece)
        except TimeoutError:
            return False
        if gone.done():
            return False
    return True


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _lost(field: Field) -> Conflict:
    detail = f"the field {field.name!r} was dropped, or is of another type now"
    return Conflict(detail, (Fault("", "unknown_field", detail),), code="schema_changed")
