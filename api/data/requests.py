"""One request to the record routes: what it brings, checked, and the call that it becomes."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar
from urllib.parse import parse_qsl

import anyio
from starlette.requests import Request
from starlette.responses import Response

from api.caller import Callers, Pass, bearer, path_id
from api.data import preferences
from api.data.bounds import Bound
from api.data.preferences import Preferences
from api.edge import Trace
from api.paging import Cursors
from core.errors import (
    BadRequest,
    Fault,
    Forbidden,
    Gone,
    Invalid,
    StaleRoute,
    StaleSchema,
    Unavailable,
    UnsupportedMediaType,
)
from core.ids import is_ulid
from core.record import refusal
from core.schema.closed import nearest
from db.data.catalog import Base, Catalog
from db.data.homes import Key
from db.data.records import Call

T = TypeVar("T")

MAX_REPEATS = 4
MAX_PARAMETERS = 200
_SHORT_BYTES = 500
"""How long a query may be that is kept as it was read: the same ones come again and again."""
_MOVING_S = 0.05
_NO_BASE = "0" * 26
_TAG = re.compile(r'[ \t]*(W/)?"(?:v([0-9]{1,18})|[\x21\x23-\x7e]*)"[ \t]*(?:,|$)')
_NO_TAG = re.compile(r"[ \t]*,|[ \t]+$")
_JSON = re.compile(
    rb"[ \t]*application/(?:json|[!#$&^_.+a-z0-9-]+\+json)[ \t]*(?:;.*)?", re.IGNORECASE | re.DOTALL
)
_KEY = re.compile("[\x20-\x7e]{1,255}")
_CONTENT_TYPE = (b"content-type", b"application/json")


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    callers: Callers
    catalog: Catalog
    cursors: Cursors
    counts: Bound = field(default_factory=lambda: Bound(8, 2, "counts"))
    streams: Bound = field(default_factory=lambda: Bound(64, 16, "streams"))


class JsonBytes(Response):
    """JSON as PostgreSQL made it; its headers need no encoding."""

    def __init__(
        self, body: bytes, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [_CONTENT_TYPE, (b"content-length", b"%d" % len(body)), *(headers or ())]


class RecordRequest(Request):
    """A request whose path names a base and a table."""

    def bind(self, parts: Parts, base_id: str, table_id: str, record_id: str | None) -> None:
        """Tell the request what the path said and what it works with."""
        self.parts = parts
        self.base_id = base_id
        self.table_id = table_id
        self._record_id = record_id
        self.brought = dict(self.scope["headers"])
        self.trace: Trace = self.scope["trace"]

    @property
    def address(self) -> str:
        """The address of the table's records."""
        return f"/bases/{self.base_id}/tables/{self.table_id}/records"

    @property
    def record_id(self) -> str:
        """The record that the path names."""
        return path_id(self._record_id or "", "record")

    async def open(self, *, write: bool) -> "Opened":
        """Return what the caller may do here; nothing else of the request is looked at before."""
        secret = bearer(self.brought.get(b"authorization"))
        # Who is nobody is told so first, whatever he asks for.
        base_id = self.base_id if is_ulid(self.base_id) else _NO_BASE
        allowed = await self.parts.callers.authorize(secret, base_id, self.trace)
        self.trace.base_id, self.trace.actor_id = base_id, allowed.claims.actor_id
        if write and not allowed.may_write:
            raise Forbidden("this token may only read here", code="read_only")
        if not write and not allowed.may_read:
            raise Forbidden("this token lacks the scope records:read", code="missing_scope")
        return Opened(self, secret, allowed, write=write)

    def parameters(self, *known: str) -> dict[str, str]:
        """Return the query's parameters, each at most once; refuses any that is not known."""
        return once(self.pairs(*known)) if self.scope["query_string"] else {}

    def pairs(self, *known: str) -> tuple[tuple[str, str], ...]:
        """Return the query's parameters as they come; refuses any that is not known."""
        raw: bytes = self.scope["query_string"]
        if not raw:
            return ()
        pairs = _pairs(raw) if len(raw) <= _SHORT_BYTES else _pairs.__wrapped__(raw)
        for name, _ in pairs:
            if name not in known:
                raise _bad(name[:100], "unknown_parameter", nearest("parameter", name[:100], known))
        return pairs

    async def content(self) -> bytes:
        """Return the whole body, which says that it is JSON, or does not say what it is."""
        kind = self.brought.get(b"content-type")
        if kind is not None and not _JSON.fullmatch(kind):
            detail = "a body has Content-Type: application/json"
            raise UnsupportedMediaType(detail, (Fault("Content-Type", "unsupported_media_type", detail),))
        chunks = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("the body ended early")
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(chunks) if len(chunks) > 1 else chunks[0]

    def key(self, body: bytes = b"") -> Key | None:
        """Return the Idempotency-Key with the hash of all that makes this request the same."""
        given = self.brought.get(b"idempotency-key")
        if given is None:
            return None
        key = given.decode("latin-1")
        if not _KEY.fullmatch(key):
            raise _bad("Idempotency-Key", "invalid_key", "1 to 255 printable ASCII characters")
        scope = self.scope
        what = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], body)
        return Key(key, hashlib.sha256(b"\0".join(what)).hexdigest())

    def preferences(self) -> Preferences:
        """Return what Prefer says."""
        return preferences.NONE if b"prefer" not in self.brought else preferences.read(self._lines(b"prefer"))

    def match(self) -> list[int] | None:
        """Return the versions that If-Match allows; None where any will do."""
        if b"if-none-match" in self.brought:
            raise _bad("If-None-Match", "not_here", "is for reads; a write takes If-Match")
        given = self._list(b"if-match")
        return None if given is None or given.strip() == b"*" else _versions("If-Match", given, weak=False)

    def has_version(self, version: int) -> bool:
        """Tell whether If-None-Match says that the caller holds this version."""
        given = self._list(b"if-none-match")
        return given is not None and (
            given.strip() == b"*" or version in _versions("If-None-Match", given, weak=True)
        )

    def _list(self, name: bytes) -> bytes | None:
        return b",".join(self._lines(name)) if name in self.brought else None

    def _lines(self, name: bytes) -> list[bytes]:
        return [value for given, value in self.scope["headers"] if given == name]


class Opened:
    """A request whose caller is known. `key` is its Idempotency-Key."""

    def __init__(self, request: RecordRequest, secret: str, allowed: Pass, *, write: bool) -> None:
        self._request = request
        self._secret = secret
        self._allowed = allowed
        self.key: Key | None = None
        self.prefers = request.preferences() if write else preferences.NONE

    @property
    def may_read(self) -> bool:
        """Whether the caller may see the values of records."""
        return self._allowed.may_read

    def shown(self, body: bytes) -> bytes:
        """Return what a write answers: without the values where the caller may not read them."""
        if self._allowed.may_read or body == b"null":
            return body
        answer = json.loads(body)
        for record in answer if isinstance(answer, list) else [answer]:
            if "fields" in record:
                record["fields"] = {}
        return json.dumps(answer).encode()

    async def done(self, act: Callable[[Call], Awaitable[T]]) -> T:
        """Return what `act` returns; where route or schema were stale, read them again and repeat, a few times."""
        request, callers, catalog = self._request, self._request.parts.callers, self._request.parts.catalog
        table_id = path_id(request.table_id, "table")
        for attempt in range(MAX_REPEATS):
            home, claims = self._allowed.home, self._allowed.claims
            base: Base | None = None
            try:
                base = await catalog.with_table(home, claims, table_id)
                table = base.tables[table_id]
                operation_id, is_dry = request.trace.operation_id, self.prefers.is_dry
                return await act(Call(home, claims, catalog, base, table, operation_id, self.key, is_dry))
            except StaleSchema:
                if base is not None:
                    catalog.forget(claims, base)
            except (BadRequest, Invalid, Gone) as refusal:
                # Refused by what we know of the table, and not by the database: that may be old.
                if base is None or refusal.__cause__ is not None or refusal.reason == "json_invalid":
                    raise
                if not await catalog.is_old(home, claims, base):
                    raise
            except StaleRoute:
                await anyio.sleep(attempt * _MOVING_S)
                self._allowed = await callers.renew(
                    self._secret, request.base_id, self._allowed, request.trace
                )
        raise Unavailable("the tenant or its schema is just changing", code="changing", retry_after_s=1)


def number(given: Mapping[str, str], name: str, *, default: int, most: int, least: int = 1) -> int:
    """Return the whole number that a parameter holds, or `default` where it is not given."""
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and least <= int(text) <= most):
        raise refusal(name, "out_of_range", f"{least} to {most}")
    return int(text)


@lru_cache(4_096)
def _pairs(raw: bytes) -> tuple[tuple[str, str], ...]:
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise _bad("", "unreadable", "the query is not percent-encoded UTF-8 of few parameters") from None
    return tuple(pairs)


def once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return parameters by name; refuses one that comes twice."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise _bad(name, "repeated_parameter", f"{name!r} may come once")
        found[name] = value
    return found


def _versions(header: str, given: bytes, *, weak: bool) -> list[int]:
    found: list[re.Match[str]] = []
    text, at = given.decode("latin-1"), 0
    while at < len(text) or not found:
        if (nothing := _NO_TAG.match(text, at)) is not None and at < len(text):
            at = nothing.end()
            continue
        tag = _TAG.match(text, at)
        if tag is None:
            raise _bad(header, "invalid_etag", 'an ETag is written "v3", in double quotes')
        found.append(tag)
        at = tag.end()
    # A tag that was never given out here equals none, and If-Match compares strongly.
    return [int(tag[2]) for tag in found if tag[2] is not None and (weak or not tag[1])]


def _bad(name: str, code: str, detail: str) -> BadRequest:
    return BadRequest(f"{name}: {detail}" if name else detail, (Fault(name, code, detail),))
