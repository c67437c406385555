"""A mutating call: done once per Idempotency-Key, in one transaction, and answered only after its commit."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from fastapi import FastAPI, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from api.edge import Trace
from api.sealing import Sealer
from core import ids
from core.errors import Conflict
from core.ids import Ulid
from db.control import idempotency
from db.control.idempotency import Stored
from db.sessions import ControlSession
from db.transactions import Sessions, transaction

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Repeating a call with its key does nothing more and answers the same.",
    ),
]


class Replayed(Exception):
    """Ends a call that was done before, with the answer that it had then."""

    def __init__(self, stored: Stored) -> None:
        super().__init__("replayed")
        self.stored = stored


@dataclass
class Change:
    """A mutation under way: its transaction, and what it will be answered."""

    session: ControlSession
    request_id: Ulid
    at: datetime
    _answer: Stored | None = field(default=None)
    _is_secret: bool = False
    _events: int = 0

    def event_id(self) -> Ulid:
        """Return the next id for what this change tells other databases: the request's, counted up."""
        self._events += 1
        return ids.batch(self.request_id, self._events + 1)[self._events]

    def answer(
        self, status: int, body: BaseModel | None = None, *, location: str | None = None, secret: bool = False
    ) -> None:
        """Say what to answer once this is committed; `secret` keeps the stored answer sealed."""
        headers = {} if location is None else {"Location": location}
        self._answer = Stored(status, headers, None if body is None else body.model_dump_json())
        self._is_secret = secret

    @property
    def stored(self) -> Stored:
        """The answer, as it was said."""
        if self._answer is None:
            raise RuntimeError("a change without an answer")
        return self._answer

    def response(self) -> Response:
        """Return the answer, for the route to return after the block has ended."""
        return _response(self.stored)


@dataclass(frozen=True)
class Once:
    """Who makes a mutating call, under which key, and what tells it from another call."""

    control: Sessions[ControlSession]
    sealer: Sealer
    caller: str
    key: str | None
    request_hash: str
    request_id: Ulid
    at: datetime

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Change]:
        """Open the call's transaction: all of it is committed when the block ends, or nothing stays."""
        async with transaction(self.control) as session:
            if self.key is not None:
                stored = await idempotency.claim(session, self.caller, self.key, self.request_hash)
                if stored is not None:
                    raise Replayed(self._opened(stored))
            change = Change(session, self.request_id, self.at)
            yield change
            if self.key is not None:
                answer = change.stored
                if change._is_secret:
                    answer = Stored(answer.status, answer.headers, self.sealer.wrap(answer.body))
                await idempotency.remember(
                    session, self.caller, self.key, self.request_hash, self.request_id, answer
                )

    def _opened(self, stored: Stored) -> Stored:
        if stored.body is None:
            return stored
        body = self.sealer.unwrap(stored.body)
        if body is None:
            raise Conflict("this call was done, and its answer cannot be shown any more", code="answer_lost")
        return Stored(stored.status, stored.headers, body)


async def hash_of(request: Request) -> str:
    """Return what tells this call from another: its method, path, query and body."""
    scope = request.scope
    head = b"\0".join(
        (scope["method"].encode(), scope["path"].encode("utf-8", "replace"), scope["query_string"], b"")
    )
    return hashlib.sha256(head + await request.body()).hexdigest()


def trace_of(request: Request) -> Trace:
    """Return what the edge knows of this request."""
    trace = request.scope["trace"]
    assert isinstance(trace, Trace)  # noqa: S101
    return trace


def begun_at(trace: Trace) -> datetime:
    """Return when the request arrived."""
    return datetime.fromtimestamp(trace.occurred_at_ms / 1_000, UTC)


def install(app: FastAPI) -> None:
    """Answer replayed calls of `app` as the first time."""
    app.add_exception_handler(Replayed, _replay)


async def _replay(_: Request, replayed: Exception) -> Response:
    assert isinstance(replayed, Replayed)  # noqa: S101
    response = _response(replayed.stored)
    response.headers["Idempotency-Hit"] = "true"
    return response


def _response(stored: Stored) -> Response:
    media_type = None if stored.body is None else "application/json"
    return Response(stored.body, stored.status, stored.headers, media_type)
