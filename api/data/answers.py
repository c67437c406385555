"""What writes answer: records as PostgreSQL made them, rows of outcomes, and who came too late."""

import json
from collections.abc import Awaitable
from typing import Any

from starlette.responses import Response

from api import problems
from api.data import rows
from api.data.requests import JsonBytes, Opened, RecordRequest
from core import coerce
from core.body import Body
from core.errors import PreconditionFailed
from core.record import Table
from core.schema.types import Mode
from db.data import disputes
from db.data.homes import Answer
from db.data.records import Call

_HIT = (b"idempotency-hit", b"true")
_MULTI_STATUS = 207


def one_record(
    opened: Opened,
    answer: Answer,
    status: int,
    *,
    location: str | None = None,
    tag: bool = True,
    coercions: bytes | None = None,
) -> JsonBytes:
    """Answer with a record, its version and, where it is new, its address under `location`."""
    headers = _headers(opened, answer)
    if tag:
        kept = json.loads(answer.hint or b"[{}]")[0]
        headers.append((b"etag", f'"v{kept["version"]}"'.encode()))
        if location is not None:
            headers.append((b"location", f"{location}/{kept['id']}".encode()))
    body = opened.shown(answer.body)
    if coercions is not None:
        body = body.rstrip()[:-1] + b',"coercions":' + coercions + b"}"
    return JsonBytes(body, answer.replayed_status or status, headers)


def many_records(opened: Opened, answer: Answer, status: int, coercions: bytes | None = None) -> JsonBytes:
    """Answer with records in the order in which they were sent."""
    headers = _headers(opened, answer)
    body = b'{"records":' + opened.shown(answer.body)
    if coercions is not None:
        body += b',"coercions":' + coercions
    return JsonBytes(body + b"}", answer.replayed_status or status, headers)


def by_rows(
    opened: Opened,
    answer: Answer,
    table: Table,
    *,
    one: str | None = None,
    in_body: bool = True,
    coercions: bytes | None = None,
) -> JsonBytes:
    """Answer by rows; where the call was for `one` record, its row alone, with its address under that one."""
    found = rows.told(table, answer, in_body=in_body)
    headers = _headers(opened, answer)
    told: dict[str, Any] = {} if coercions is None else {"coercions": json.loads(coercions)}
    if one is None:
        status = _MULTI_STATUS if any("error" in row for row in found) else 200
        return JsonBytes(_dumps({"records": found} | told), status, headers)
    row = found[0]
    headers += [
        (b"etag", f'"v{row["version"]}"'.encode()),
        (b"location", f"{one}/{row['id']}".encode()),
    ]
    return JsonBytes(_dumps(row | told), 201 if row["status"] == "created" else 200, headers)


def affected(opened: Opened, answer: Answer, table: Table, coercions: bytes | None = None) -> JsonBytes:
    """Answer how many records a filter found, and what became of each."""
    found = rows.told(table, answer)
    body: dict[str, Any] = {"count": len(found), "records": found}
    if coercions is not None:
        body["coercions"] = json.loads(coercions)
    headers = _headers(opened, answer)
    return JsonBytes(_dumps(body), 200, headers)


def kept(answer: Answer, coercions: bytes | None, mode: Mode) -> bytes | None:
    """Return what was coerced, where that was asked for: of a repeated call, what it was told the first time."""
    if mode is Mode.OFF or answer.replayed_status is None:
        return coercions
    stored = json.loads(answer.hint or b"null") or [{}]
    return json.dumps(stored[0].get("coercions", [])).encode()


async def or_told(
    act: Awaitable[Answer],
    opened: Opened,
    call: Call,
    record_id: str,
    match: list[int] | None,
    body: Body | None,
) -> Answer:
    """Return what `act` does; where the record has another version, say what the caller knew, sent, and meets."""
    try:
        return await act
    except PreconditionFailed as error:
        if not opened.may_read or match is None:
            raise
        sides = await disputes.sides(call, record_id, max(match, default=None))
        yours = b"null" if body is None else coerce.dumps(body.records[0])
        raise Disputed(error, sides[:-1] + b',"yours":' + yours + b"}") from error


class Disputed(PreconditionFailed):
    """A precondition failed, and the caller may see by what."""

    def __init__(self, error: PreconditionFailed, sides: bytes) -> None:
        super().__init__(error.detail, error.faults, code=error.reason, **error.extra)
        self._sides = sides

    def answer(self, request: RecordRequest) -> Response:
        """Return the problem, with the sides as PostgreSQL wrote them."""
        plain = problems.answer(self, request.trace.operation_id)
        body = bytes(plain.body)[:-1] + b"," + self._sides[1:]
        return Response(body, plain.status_code, {"ETag": plain.headers["etag"]}, problems.MEDIA_TYPE)


def _headers(opened: Opened, answer: Answer) -> list[tuple[bytes, bytes]]:
    headers = opened.prefers.applied
    if answer.replayed_status is not None:
        headers.append(_HIT)
    return headers


def _dumps(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
