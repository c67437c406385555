"""The past: a record's history, what a record or a table was at a moment, and the way back to an older version."""

import json

from fastapi import APIRouter

from api.data import describe
from api.data.lane import RecordRoute
from api.data.requests import JsonBytes, Opened, RecordRequest, number
from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from core import history as rules
from core.record import refusal
from db.data import history
from db.data.homes import Answer
from db.data.records import Call

router = APIRouter(
    prefix="/bases/{base_id}/tables/{table_id}/records", tags=["history"], route_class=RecordRoute
)
_WITH_AS_OF = ("as_of", "limit", "fields", "cursor")


@router.get("/{record_id}/history", **describe.HISTORY)
async def list_history(request: RecordRequest) -> JsonBytes:
    """List the changes of a record, the newest first, also of one that was deleted, as long as they are kept.

    `complete` tells whether its creation is still kept. Fields have today's names; what a field held that was dropped
    since is not told, only the field's id.
    """
    opened = await request.open(write=False)
    record_id = request.record_id
    given = request.parameters("limit", "cursor")
    limit = number(given, "limit", default=rules.DEFAULT_ENTRIES, most=rules.MAX_ENTRIES)

    async def act(call: Call) -> bytes:
        query = f"{call.table.tenant_id} {call.table.base_id} {call.table.id} history {record_id}"
        before = None
        if (cursor := given.get("cursor")) is not None:
            before = request.parts.cursors.resume(query, cursor)
        page = await history.entries(call, record_id, before, limit)
        said = json.loads(page.hint or b"{}")
        following = None if said["next"] is None else request.parts.cursors.write(query, said["next"])
        tail = json.dumps({"next_cursor": following, "complete": said["complete"]}).encode()
        return b'{"changes":' + page.body + b"," + tail[1:]

    return JsonBytes(await opened.done(act))


async def get_as_of(call: Call, record_id: str, at: str, fields: str | None) -> Answer:
    """Answer what `GET /records/{id}?as_of=` asks for."""
    return await history.get_as_of(call, record_id, rules.moment(at), fields)


async def list_as_of(request: RecordRequest, opened: Opened, given: dict[str, str]) -> JsonBytes:
    """Answer what `GET /records?as_of=` asks for: a table as it was, in the order of ids."""
    at = rules.moment(given["as_of"])
    for name in given:
        if name not in _WITH_AS_OF:
            raise refusal(name, "not_with_as_of", "the past is listed in the order of ids, and whole")
    limit = number(given, "limit", default=DEFAULT_LIMIT, most=MAX_LIMIT)

    async def act(call: Call) -> bytes:
        query = f"{call.table.tenant_id} {call.table.base_id} {call.table.id} as_of {at}"
        after = ""
        if (cursor := given.get("cursor")) is not None:
            after = request.parts.cursors.resume(query, cursor)
        page = await history.page_as_of(call, at, given.get("fields"), after, limit)
        following = None
        if page.hint is not None:
            following = request.parts.cursors.write(query, json.loads(page.hint))
        return b'{"records":' + page.body + b',"next_cursor":' + json.dumps(following).encode() + b"}"

    return JsonBytes(await opened.done(act))
