"""The trash of a table: what was deleted, and how it comes back."""

import json

from fastapi import APIRouter

from api.data import describe
from api.data.lane import RecordRoute
from api.data.requests import JsonBytes, RecordRequest, number
from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from core.errors import PlanebaseError
from db.data import trash
from db.data.homes import Answer
from db.data.records import Call
from db.data.trash import Place

router = APIRouter(prefix="/bases/{base_id}/tables/{table_id}", tags=["trash"], route_class=RecordRoute)


@router.get("/trash", **describe.TRASH)
async def list_trash(request: RecordRequest) -> JsonBytes:
    """List the deleted records that can still be restored, as they were, the last deleted first."""
    opened = await request.open(write=False)
    given = request.parameters("limit", "cursor")
    limit = number(given, "limit", default=DEFAULT_LIMIT, most=MAX_LIMIT)

    async def act(call: Call) -> bytes:
        query = f"{call.table.tenant_id} {call.table.base_id} {call.table.id} trash"
        after = None
        if (cursor := given.get("cursor")) is not None:
            after = Place(*request.parts.cursors.resume(query, cursor))
        page = await trash.page(call, after, limit)
        following = None
        if page.hint is not None:
            following = request.parts.cursors.write(query, json.loads(page.hint))
        return b'{"records":' + page.body + b',"next_cursor":' + json.dumps(following).encode() + b"}"

    return JsonBytes(await opened.done(act))


@router.post("/records/{record_id}/restore", **describe.RESTORE)
async def restore_record(request: RecordRequest) -> JsonBytes:
    """Bring a deleted record back: its id, its values, its time of creation; its version goes on counting.

    A body with `fields` gives other values than it had: where one that is unique was taken meanwhile, or a field is
    required now. Restoring is done once, whoever else tries, and repeating an Idempotency-Key changes nothing.
    """
    opened = await request.open(write=True)
    record_id = request.record_id
    request.parameters()
    match = request.match()
    raw = await request.content()
    opened.key = request.key(raw)

    async def act(call: Call) -> Answer:
        try:
            return await trash.restore(call, record_id, raw or None, match)
        except PlanebaseError as refused:
            # What was restored by this very call, or is refused by today's schema, is answered as it was.
            if (
                call.key is None
                or call.is_dry
                or refused.status >= 500
                or (answer := await trash.repeated(call)) is None
            ):
                raise
            return answer

    restored = await opened.done(act)
    version = json.loads(restored.hint or b"[{}]")[0]["version"]
    headers = [(b"etag", f'"v{version}"'.encode()), *opened.prefers.applied]
    if restored.replayed_status is not None:
        headers.append((b"idempotency-hit", b"true"))
    return JsonBytes(opened.shown(restored.body), restored.replayed_status or 200, headers)
