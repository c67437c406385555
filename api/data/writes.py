"""Writes to the records of a table: check, one call, bytes out."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from fastapi import APIRouter
from pydantic_core import from_json
from starlette.responses import Response

from api.data import answers, describe, preferences, rows
from api.data.lane import RecordRoute
from api.data.requests import JsonBytes, Opened, RecordRequest, once
from core import filter as filters
from core.body import Body, Write
from core.errors import BadRequest, Fault, Forbidden, Invalid, NotFound
from core.filter import Filter
from core.ids import is_ulid
from core.record import Table, refusal
from core.schema.closed import nearest
from core.schema.types import Mode
from db.data import batches, by_filter, records, upserts
from db.data.homes import Answer
from db.data.records import Call
from db.data.refusals import NO_RECORD

MAX_DELETES = 100
router = APIRouter(
    prefix="/bases/{base_id}/tables/{table_id}/records", tags=["records"], route_class=RecordRoute
)
_MODES = ("atomic", "per_row")
_CHANGES = {Write.MERGE: records.update, Write.REPLACE: records.replace_all}
_BY_FILTER = ("filter", "timezone", "max-affected")


@router.post("", **describe.CREATE)
async def create_records(request: RecordRequest) -> JsonBytes:
    """Create one record, or up to 1,000, answered in the order in which they were sent.

    All or none, unless `mode=per_row`, which answers each record's outcome. With `upsert=<field>` a record that is
    there already, by its value in that unique field, is changed instead. A 201 means that they are committed;
    repeating an Idempotency-Key changes nothing.
    """
    opened, raw, given = await _begin(request, "mode", "upsert", "typecast")
    _no_match(request)
    mode = _typecast(given)
    if given and ("upsert" in given or _per_row(given)):
        return await _rows(request, opened, raw, given, Write.CREATE, mode)

    async def act(call: Call) -> tuple[Answer, bool, bytes | None]:
        try:
            body, coercions = rows.checked(call.table, Write.CREATE, raw, mode)
        except Invalid:
            one = _is_one(raw)
            if (answer := await _repeated(call, one)) is None:
                raise
            return answer, one, None
        return await records.create(call, body, coercions), body.one, coercions

    made, one, coercions = await opened.done(act)
    coerced = answers.kept(made, coercions, mode)
    if one:
        return answers.one_record(opened, made, 201, location=request.address, coercions=coerced)
    return answers.many_records(opened, made, 201, coerced)


@router.patch("", **describe.MERGE_MANY)
async def merge_records(request: RecordRequest) -> Response:
    """Change the named fields of up to 1,000 records. What would not change is not written.

    All or none, unless `mode=per_row`. With `filter`, of all records that it finds, if these are not more than
    `max-affected`.
    """
    return await _change_many(request, Write.MERGE, *_BY_FILTER)


@router.put("", **describe.REPLACE_MANY)
async def replace_records(request: RecordRequest) -> Response:
    """Replace up to 1,000 records: a field that is not named becomes empty. All or none, unless `mode=per_row`."""
    return await _change_many(request, Write.REPLACE)


@router.patch("/{record_id}", **describe.MERGE)
async def merge_record(request: RecordRequest) -> Response:
    """Change the named fields of one record. With `If-Match`, only if it still has that version."""
    return await _change_one(request, Write.MERGE)


@router.put("/{record_id}", **describe.REPLACE)
async def replace_record(request: RecordRequest) -> Response:
    """Replace one record: a field that is not named becomes empty. With `If-Match`, only if it has that version."""
    return await _change_one(request, Write.REPLACE)


@router.delete("/{record_id}", **describe.DELETE)
async def delete_record(request: RecordRequest) -> Response:
    """Delete one record. With `If-Match`, only if it still has that version."""
    opened = await request.open(write=True)
    record_id = request.record_id
    request.parameters()
    match = request.match()
    opened.key = request.key()

    async def act(call: Call) -> Answer:
        gone = records.delete_one(call, record_id, match)
        return await answers.or_told(gone, opened, call, record_id, match, None)

    try:
        return answers.one_record(opened, await opened.done(act), 200, tag=False)
    except answers.Disputed as error:
        return error.answer(request)


@router.delete("", **describe.DELETE_MANY)
async def delete_records(request: RecordRequest) -> JsonBytes:
    """Delete up to 100 records, `?id=…&id=…`, all or none and answered in that order, unless `mode=per_row`.

    With `filter` instead, all records that it finds, if these are not more than `max-affected`.
    """
    opened = await request.open(write=True)
    pairs = request.pairs("id", "mode", *_BY_FILTER)
    _no_match(request)
    record_ids = [value for name, value in pairs if name == "id"]
    given = once([pair for pair in pairs if pair[0] != "id"])
    opened.key = request.key()
    if "filter" in given:
        if record_ids or "mode" in given:
            other = "id" if record_ids else "mode"
            raise refusal(other, "not_here", f"{other!r} does not go with `filter`")
        answer, table = await _affect(opened, given, by_filter.delete)
        return answers.affected(opened, answer, table)
    _refuse_most(given)
    if not 1 <= len(record_ids) <= MAX_DELETES:
        raise refusal("id", "how_many", f"1 to {MAX_DELETES} ids")
    if len(set(record_ids)) < len(record_ids):
        raise refusal("id", "repeated_record", "a record is named twice")
    wrong = [n for n, record_id in enumerate(record_ids) if not is_ulid(record_id)]
    if _per_row(given):
        places = [n for n in range(len(record_ids)) if n not in wrong]

        async def act(call: Call) -> tuple[Answer, Table]:
            return await batches.delete(call, [record_ids[n] for n in places], places, wrong), call.table

        answer, table = await opened.done(act)
        return answers.by_rows(opened, answer, table, in_body=False)
    if wrong:
        raise NotFound(NO_RECORD, (Fault(f"id[{wrong[0]}]", "not_found", NO_RECORD),))
    return answers.many_records(
        opened, await opened.done(lambda call: records.delete_many(call, record_ids)), 200
    )


async def _begin(request: RecordRequest, *known: str) -> tuple[Opened, bytes, dict[str, str]]:
    opened = await request.open(write=True)
    given = request.parameters(*known)
    raw = await request.content()
    opened.key = request.key(raw)
    return opened, raw, given


async def _change_one(request: RecordRequest, write: Write) -> Response:
    opened, raw, given = await _begin(request, "typecast")
    record_id, match, mode = request.record_id, request.match(), _typecast(given)

    async def act(call: Call) -> tuple[Answer, bytes | None]:
        async def change(body: Body, coercions: bytes | None) -> Answer:
            changing = _CHANGES[write](call, body, record_id, match, coercions)
            return await answers.or_told(changing, opened, call, record_id, match, body)

        return await _changed(call, write, raw, mode, change, one=True)

    try:
        changed, coercions = await opened.done(act)
    except answers.Disputed as error:
        return error.answer(request)
    return answers.one_record(opened, changed, 200, coercions=answers.kept(changed, coercions, mode))


async def _change_many(request: RecordRequest, write: Write, *more: str) -> JsonBytes:
    opened, raw, given = await _begin(request, "mode", "typecast", *more)
    _no_match(request)
    mode = _typecast(given)
    if "filter" in given:
        if "mode" in given:
            raise refusal("mode", "not_here", "'mode' does not go with `filter`")
        return await _merge_by_filter(opened, raw, given, mode)
    _refuse_most(given)
    if _per_row(given):
        return await _rows(request, opened, raw, given, write, mode)

    async def act(call: Call) -> tuple[Answer, bytes | None]:
        async def change(body: Body, coercions: bytes | None) -> Answer:
            return await _CHANGES[write](call, body, None, None, coercions)

        return await _changed(call, write, raw, mode, change, one=False)

    changed, coercions = await opened.done(act)
    return answers.many_records(opened, changed, 200, answers.kept(changed, coercions, mode))


async def _changed(
    call: Call,
    write: Write,
    raw: bytes,
    mode: Mode,
    change: Callable[[Body, bytes | None], Awaitable[Answer]],
    *,
    one: bool,
) -> tuple[Answer, bytes | None]:
    """Return what `change` makes of the body, and what was coerced in it."""
    try:
        body, coercions = rows.checked(call.table, write, raw, mode)
    except Invalid:
        if (answer := await _repeated(call, one)) is None:
            raise
        return answer, None
    _refuse_other(body, one=one)
    return await change(body, coercions), coercions


async def _rows(
    request: RecordRequest, opened: Opened, raw: bytes, given: dict[str, str], write: Write, mode: Mode
) -> JsonBytes:
    """Write the records of a body, and answer by rows."""
    each = _per_row(given)

    async def act(call: Call) -> tuple[Answer, Table, bytes | None]:
        field = upserts.key_field(call.table, given["upsert"]) if "upsert" in given else None
        try:
            part = rows.part(call.table, write, raw, mode, each=each, merge_on=field)
        except Invalid:
            if (answer := await batches.repeated(call)) is None:
                raise
            return answer, call.table, None
        if field is not None:
            answer = await upserts.upsert(call, field, part, each=each)
        elif write is Write.CREATE:
            answer = await batches.create(call, part)
        else:
            answer = await batches.update(call, part, replace=write is Write.REPLACE)
        return answer, call.table, part.coercions

    answer, table, coercions = await opened.done(act)
    one = request.address if not each and _is_one(raw) else None
    return answers.by_rows(opened, answer, table, one=one, coercions=answers.kept(answer, coercions, mode))


async def _merge_by_filter(opened: Opened, raw: bytes, given: dict[str, str], mode: Mode) -> JsonBytes:
    told: bytes | None = None

    async def act(call: Call, condition: Filter, most: int) -> Answer:
        nonlocal told
        try:
            body, told = rows.checked(call.table, Write.MERGE, raw, mode)
        except Invalid:
            if (answer := await batches.repeated(call)) is None:
                raise
            return answer
        _refuse_other(body, one=True)
        return await by_filter.update(call, condition, body, most, told)

    answer, table = await _affect(opened, given, act)
    return answers.affected(opened, answer, table, answers.kept(answer, told, mode))


async def _affect(
    opened: Opened, given: dict[str, str], effect: Callable[[Call, Filter, int], Awaitable[Answer]]
) -> tuple[Answer, Table]:
    """Affect what a filter finds, if that is no more than the caller says."""
    if not opened.may_read:
        # What a filter finds tells of values.
        raise Forbidden("a filter needs the scope records:read as well", code="missing_scope")
    most = opened.prefers.max_affected
    if (text := given.get("max-affected")) is not None:
        most = preferences.count(text)
        if most is None:
            raise refusal("max-affected", "out_of_range", "1 to 1,000")
    if most is None:
        raise refusal("max-affected", "required", "how many records may this affect at most, 1 to 1,000?")

    async def act(call: Call) -> tuple[Answer, Table]:
        zone = given.get("timezone")
        tree = filters.parse(given["filter"], call.table, timezone=zone, tables=call.base.tables)
        return await effect(call, filters.resolved(tree, datetime.now(UTC)), most), call.table

    return await opened.done(act)


async def _repeated(call: Call, one: bool) -> Answer | None:
    """What today's schema refuses may have been done under yesterday's: then it is answered as it was."""
    return None if call.key is None or call.is_dry else await records.repeated(call, one=one)


def _is_one(raw: bytes) -> bool:
    try:
        body = from_json(raw)
    except ValueError:
        return False
    return isinstance(body, dict) and "fields" in body


def _typecast(given: dict[str, str]) -> Mode:
    if not given or (word := given.get("typecast")) is None:
        return Mode.OFF
    if word not in tuple(Mode):
        raise refusal("typecast", "unknown_typecast", nearest("typecast", word[:100], tuple(Mode)))
    return Mode(word)


def _per_row(given: dict[str, str]) -> bool:
    if not given or (word := given.get("mode")) is None:
        return False
    if word not in _MODES:
        raise refusal("mode", "unknown_mode", nearest("mode", word[:100], _MODES))
    return word == "per_row"


def _refuse_most(given: dict[str, str]) -> None:
    for name in _BY_FILTER[1:]:
        if given and name in given:
            raise refusal(name, "not_here", f"{name!r} goes with `filter`")


def _refuse_other(body: Body, *, one: bool) -> None:
    if body.one != one:
        members = "`fields`" if one else "`records`"
        detail = f"the body of this address has {members}"
        raise Invalid(detail, (Fault("", "one_or_many", detail),))


def _no_match(request: RecordRequest) -> None:
    if request.match() is not None:
        detail = "If-Match is for one record; in a batch, each item may have a `version`"
        raise BadRequest(detail, (Fault("If-Match", "not_here", detail),))
