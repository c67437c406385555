"""One request to the record routes: what it brings, checked, and the call that it becomes."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

import anyio
from starlette.requests import Request
from starlette.responses import Response

from api.caller import Callers, Pass, bearer, path_id
from api.edge import Trace
from api.paging import Cursors
from core.errors import BadRequest, Fault, Forbidden, Invalid, StaleRoute, StaleSchema, Unavailable
from core.ids import is_ulid
from core.schema.closed import nearest
from db.data.catalog import Base, Catalog
from db.data.homes import Key
from db.data.records import Call

T = TypeVar("T")

MAX_REPEATS = 4
MAX_PARAMETERS = 200
_MOVING_S = 0.05
_NO_BASE = "0" * 26
_TAG = re.compile(r'\s*(W/)?"(?:v([0-9]{1,18})|[\x21\x23-\x7e]*)"\s*')
_KEY = re.compile("[\x20-\x7e]{1,255}")
_CONTENT_TYPE = (b"content-type", b"application/json")


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    callers: Callers
    catalog: Catalog
    cursors: Cursors


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
        return Opened(self, secret, allowed)

    def parameters(self, *known: str) -> dict[str, str]:
        """Return the query's parameters, each at most once; refuses any that is not known."""
        found: dict[str, str] = {}
        for name, value in self.pairs(*known):
            if name in found:
                raise _bad(name, "repeated_parameter", f"{name!r} may come once")
            found[name] = value
        return found

    def pairs(self, *known: str) -> list[tuple[str, str]]:
        """Return the query's parameters as they come; refuses any that is not known."""
        raw: bytes = self.scope["query_string"]
        if not raw:
            return []
        try:
            pairs = parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
            )
        except ValueError:
            raise _bad("", "unreadable", "the query is not percent-encoded UTF-8 of few parameters") from None
        for name, _ in pairs:
            if name not in known:
                raise _bad(name[:100], "unknown_parameter", nearest("parameter", name[:100], known))
        return pairs

    async def content(self) -> bytes:
        """Return the whole body."""
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

    def match(self) -> list[int] | None:
        """Return the versions that If-Match allows; None where any will do."""
        given = self.brought.get(b"if-match")
        return None if given is None or given.strip() == b"*" else _versions("If-Match", given, weak=False)

    def has_version(self, version: int) -> bool:
        """Tell whether If-None-Match says that the caller holds this version."""
        given = self.brought.get(b"if-none-match")
        return given is not None and (
            given.strip() == b"*" or version in _versions("If-None-Match", given, weak=True)
        )


class Opened:
    """A request whose caller is known. `key` is its Idempotency-Key."""

    def __init__(self, request: RecordRequest, secret: str, allowed: Pass) -> None:
        self._request = request
        self._secret = secret
        self._allowed = allowed
        self.key: Key | None = None

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
                return await act(
                    Call(home, claims, catalog, base, table, request.trace.operation_id, self.key)
                )
            except StaleSchema:
                if base is not None:
                    catalog.forget(claims, base)
            except (BadRequest, Invalid) as refusal:
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


def _versions(header: str, given: bytes, *, weak: bool) -> list[int]:
    tags = [_TAG.fullmatch(tag) for tag in given.decode("latin-1").split(",")]
    if not all(tags):
        raise _bad(header, "invalid_etag", 'an ETag is written "v3", in double quotes')
    # A tag that was never given out here equals none, and If-Match compares strongly.
    return [int(tag[2]) for tag in tags if tag is not None and tag[2] is not None and (weak or not tag[1])]


def _bad(name: str, code: str, detail: str) -> BadRequest:
    return BadRequest(f"{name}: {detail}" if name else detail, (Fault(name, code, detail),))
