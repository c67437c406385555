"""Pages: limits, and cursors that are opaque, signed and good for one query only."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any

from fastapi import Query

from core.errors import BadRequest, Fault, Gone

DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000
_MAC_BYTES = 12
_AGE_BYTES = 5
_QUERY_BYTES = 12
_HEAD_BYTES = _MAC_BYTES + _AGE_BYTES + _QUERY_BYTES
_MAX_CURSOR_CHARS = 50_000
"""Room for the longest place: 6,000 characters of sort keys, of up to six bytes each in JSON."""
_MAX_PLAIN_CURSOR_CHARS = 6_000
"""The same for lists whose order is fixed."""
_MAX_AGE_S = 86_400
_KEPT = 4_096
_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many at most.")]
Cursor = Annotated[
    str | None, Query(max_length=_MAX_PLAIN_CURSOR_CHARS, description="`next_cursor` of the page before.")
]


class Unusable(StrEnum):
    """Why a cursor cannot be gone on from; stable codes."""

    EXPIRED = "cursor_expired"
    FOREIGN = "cursor_foreign"
    UNREADABLE = "cursor_unreadable"


_WORDS = {
    Unusable.EXPIRED: "this cursor is too old",
    Unusable.FOREIGN: "this cursor belongs to another table, sort, filter or view, or to what they were before",
    Unusable.UNREADABLE: "this cursor was not given out here, or not like this",
}


class _NoCursor(Exception):
    def __init__(self, why: Unusable) -> None:
        super().__init__(why)
        self.why = why


class Cursors:
    """Writes cursors under one secret, and reads those of the secret before it too; `query` is whatever must not
    change from page to page."""

    def __init__(
        self,
        secret: str,
        *,
        previous: str | None = None,
        max_age_s: float = _MAX_AGE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = _key(secret)
        self._secrets = [self._secret] if previous is None else [self._secret, _key(previous)]
        self._max_age_s = max_age_s
        self._clock = clock

    def write(self, query: str, position: Any) -> str:
        """Return the cursor that stands for `position`, a JSON value, in `query`."""
        body = _dumps(position).encode()
        signed = int(self._clock()).to_bytes(_AGE_BYTES) + _digest(query) + body
        return base64.urlsafe_b64encode(_mac(self._secret, signed) + signed).rstrip(b"=").decode()

    def read(self, query: str, cursor: str) -> Any:
        """Return the position that `cursor` stands for, however old; BadRequest where it is broken or foreign."""
        try:
            return self._read(query, cursor, max_age_s=None)
        except _NoCursor:
            raise invalid_cursor() from None

    def resume(self, query: str, cursor: str) -> Any:
        """Return the position that `cursor` stands for; Gone with the reason where it can be gone on from no more."""
        try:
            return self._read(query, cursor, max_age_s=self._max_age_s)
        except _NoCursor as error:
            raise gone(error.why) from None

    def _read(self, query: str, cursor: str, *, max_age_s: float | None) -> Any:
        raw = _decoded(cursor)
        signed = raw[_MAC_BYTES:]
        if not any(hmac.compare_digest(raw[:_MAC_BYTES], _mac(secret, signed)) for secret in self._secrets):
            raise _NoCursor(Unusable.UNREADABLE)
        if signed[_AGE_BYTES : _AGE_BYTES + _QUERY_BYTES] != _digest(query):
            raise _NoCursor(Unusable.FOREIGN)
        if max_age_s is not None and self._clock() - int.from_bytes(signed[:_AGE_BYTES]) > max_age_s:
            raise _NoCursor(Unusable.EXPIRED)
        return json.loads(signed[_AGE_BYTES + _QUERY_BYTES :])


def invalid_cursor() -> BadRequest:
    """Return the refusal of a cursor that this query never gave out."""
    detail = "this cursor does not belong to this query; begin again without one"
    return BadRequest(detail, (Fault("cursor", "invalid_cursor", detail),), code="invalid_cursor")


def gone(why: Unusable) -> Gone:
    """Return the refusal of a cursor that a list of records cannot go on from."""
    detail = f"{_WORDS[why]}; begin again without one"
    return Gone(detail, (Fault("cursor", why, detail),), code=why)


def _decoded(cursor: str) -> bytes:
    if len(cursor) > _MAX_CURSOR_CHARS:
        raise _NoCursor(Unusable.UNREADABLE)
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise _NoCursor(Unusable.UNREADABLE) from None
    # One spelling each: what stands in the last bits, and signs that only pad, could be anything else.
    if len(raw) < _HEAD_BYTES or base64.urlsafe_b64encode(raw).rstrip(b"=") != cursor.encode():
        raise _NoCursor(Unusable.UNREADABLE)
    return raw


def _key(secret: str) -> bytes:
    """Return the key that a secret of any length makes."""
    return hashlib.sha256(secret.encode()).digest()


@lru_cache(_KEPT)
def _digest(query: str) -> bytes:
    return hashlib.sha256(query.encode()).digest()[:_QUERY_BYTES]


def _mac(secret: bytes, signed: bytes) -> bytes:
    # Keyed BLAKE2 is a MAC by itself (RFC 7693), and costs a quarter of an HMAC here.
    return hashlib.blake2b(signed, key=secret, digest_size=_MAC_BYTES).digest()
