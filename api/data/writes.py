"""Writes to the records of a table: check, one call, bytes out."""

import json

from fastapi import APIRouter
from pydantic_core import from_json

from api.data import describe
from api.data.lane import RecordRoute
from api.data.requests import JsonBytes, Opened, RecordRequest
from core import body as bodies
from core.body import Write
from core.errors import BadRequest, Fault, Invalid, NotFound
from core.ids import is_ulid
from core.record import refusal
from db.data import records
from db.data.homes import Answer
from db.data.records import Call
from db.data.refusals import NO_RECORD

MAX_DELETES = 100
router = APIRouter(
    prefix="/bases/{base_id}/tables/{table_id}/records", tags=["records"], route_class=RecordRoute
)
_HIT = (b"idempotency-hit", b"true")


@router.post("", **describe.CREATE)
async def create_records(request: RecordRequest) -> JsonBytes:
    """Create one record, or up to 1,000: all or none, answered in the order in which they were sent.

    A 201 means that they are committed; repeating an Idempotency-Key changes nothing.
    """
    opened, raw = await _begin(request)

    async def act(call: Call) -> tuple[Answer, bool]:
        try:
            body = bodies.read(call.table, Write.CREATE, raw)
        except Invalid:
            one = _is_one(raw)
            if (answer := await _repeated(call, one)) is None:
                raise
            return answer, one
        return await records.create(call, body), body.one

    made, one = await opened.done(act)
    return _one(opened, made, 201, location=request.address) if one else _many(opened, made, 201)


@router.patch("", **describe.MERGE_MANY)
async def merge_records(request: RecordRequest) -> JsonBytes:
    """Change the named fields of up to 1,000 records: all or none. What would not change is not written."""
    return await _change(request, Write.MERGE, None)


@router.put("", **describe.REPLACE_MANY)
async def replace_records(request: RecordRequest) -> JsonBytes:
    """Replace up to 1,000 records: all or none. A field that is not named becomes empty."""
    return await _change(request, Write.REPLACE, None)


@router.patch("/{record_id}", **describe.MERGE)
async def merge_record(request: RecordRequest) -> JsonBytes:
    """Change the named fields of one record. With `If-Match`, only if it still has that version."""
    return await _change(request, Write.MERGE, request.record_id)


@router.put("/{record_id}", **describe.REPLACE)
async def replace_record(request: RecordRequest) -> JsonBytes:
    """Replace one record: a field that is not named becomes empty. With `If-Match`, only if it has that version."""
    return await _change(request, Write.REPLACE, request.record_id)


@router.delete("/{record_id}", **describe.DELETE)
async def delete_record(request: RecordRequest) -> JsonBytes:
    """Delete one record. With `If-Match`, only if it still has that version."""
    opened = await request.open(write=True)
    record_id = request.record_id
    request.parameters()
    match = request.match()
    opened.key = request.key()
    gone = await opened.done(lambda call: records.delete_one(call, record_id, match))
    return _one(opened, gone, 200, tag=False)


@router.delete("", **describe.DELETE_MANY)
async def delete_records(request: RecordRequest) -> JsonBytes:
    """Delete up to 100 records, `?id=…&id=…`: all or none, answered in that order."""
    opened = await request.open(write=True)
    record_ids = [value for _, value in request.pairs("id")]
    _no_match(request)
    if not 1 <= len(record_ids) <= MAX_DELETES:
        raise refusal("id", "how_many", f"1 to {MAX_DELETES} ids")
    if len(set(record_ids)) < len(record_ids):
        raise refusal("id", "repeated_record", "a record is named twice")
    if not all(map(is_ulid, record_ids)):
        wrong = next(n for n, record_id in enumerate(record_ids) if not is_ulid(record_id))
        raise NotFound(NO_RECORD, (Fault(f"id[{wrong}]", "not_found", NO_RECORD),))
    opened.key = request.key()
    return _many(opened, await opened.done(lambda call: records.delete_many(call, record_ids)), 200)


async def _begin(request: RecordRequest) -> tuple[Opened, bytes]:
    opened = await request.open(write=True)
    request.parameters()
    raw = await request.content()
    opened.key = request.key(raw)
    return opened, raw


async def _change(request: RecordRequest, write: Write, record_id: str | None) -> JsonBytes:
    opened, raw = await _begin(request)
    if record_id is None:
        _no_match(request)
    match = request.match()
    change = records.update if write is Write.MERGE else records.replace_all

    async def act(call: Call) -> Answer:
        try:
            body = bodies.read(call.table, write, raw)
        except Invalid:
            if (answer := await _repeated(call, record_id is not None)) is None:
                raise
            return answer
        if body.one != (record_id is not None):
            members = "`fields`" if record_id is not None else "`records`"
            detail = f"the body of this address has {members}"
            raise Invalid(detail, (Fault("", "one_or_many", detail),))
        return await change(call, body, record_id, match)

    changed = await opened.done(act)
    return _many(opened, changed, 200) if record_id is None else _one(opened, changed, 200)


async def _repeated(call: Call, one: bool) -> Answer | None:
    """What today's schema refuses may have been done under yesterday's: then it is answered as it was."""
    return None if call.key is None else await records.repeated(call, one=one)


def _is_one(raw: bytes) -> bool:
    try:
        body = from_json(raw)
    except ValueError:
        return False
    return isinstance(body, dict) and "fields" in body


def _one(
    opened: Opened, answer: Answer, status: int, *, location: str | None = None, tag: bool = True
) -> JsonBytes:
    headers = []
    if tag:
        kept = json.loads(answer.hint or b"[{}]")[0]
        headers.append((b"etag", f'"v{kept["version"]}"'.encode()))
        if location is not None:
            headers.append((b"location", f"{location}/{kept['id']}".encode()))
    if answer.replayed_status is not None:
        headers.append(_HIT)
    return JsonBytes(opened.shown(answer.body), answer.replayed_status or status, headers)


def _many(opened: Opened, answer: Answer, status: int) -> JsonBytes:
    headers = [_HIT] if answer.replayed_status is not None else []
    body = b'{"records":' + opened.shown(answer.body) + b"}"
    return JsonBytes(body, answer.replayed_status or status, headers)


def _no_match(request: RecordRequest) -> None:
    if request.match() is not None:
        detail = "If-Match is for one record; in a batch, each item may have a `version`"
        raise BadRequest(detail, (Fault("If-Match", "not_here", detail),))
