"""The edge of each API: an id per request, a bound on bodies, one access record, an answer to every error."""

import asyncio
import time
import types
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from core import ids
from core.ids import Ulid

_log = structlog.get_logger("api")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_ROUTE = "(none)"
_BODY_PATIENCE_S = 30.0


@dataclass(slots=True)
class Trace:
    """What is known of a request while it runs, and at its end its access record."""

    operation_id: Ulid
    occurred_at_ms: int
    method: str
    ip: str | None
    route: str = _NO_ROUTE
    status: int = 0
    latency_ms: float = 0.0
    response_bytes: int = 0
    tenant_id: str | None = None
    token_id: str | None = None
    base_id: str | None = None
    actor_id: str | None = None
    is_recorded: bool = True


class Edge:
    """ASGI middleware, to stand outside everything else: `scope["trace"]` is this request's `Trace`.

    `on_end` receives each request's trace once its last byte was handed to the server; it must not wait.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        on_end: Callable[[Trace], None] | None = None,
        looks_ahead: bool = True,
        body_patience_s: float = _BODY_PATIENCE_S,
    ) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.on_end = on_end
        # Without it a body that says how large it is, is refused only where the app reads it.
        self.looks_ahead = looks_ahead
        # How long the next piece of a body may take.
        self.body_patience_s = body_patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        client = scope.get("client")
        trace = Trace(ids.new(), ids.now_ms(), scope["method"], client[0] if client else None)
        scope["trace"] = trace
        own_headers = [(b"x-request-id", trace.operation_id.encode()), _NOSNIFF]
        closed = False  # we have answered in the app's stead: what it still sends is dropped
        body_left = self.max_body_bytes
        declared = _declared_bytes(scope)
        comes = declared != 0  # whether more of the body is to come

        async def sends(message: Message) -> None:
            if closed:
                return
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *own_headers]
            elif message["type"] == "http.response.body":
                trace.response_bytes += len(message.get("body", b""))
            await send(message)

        async def refuse(status: int, code: str, detail: str) -> None:
            nonlocal closed
            body = problems.problem(status, code, detail, trace.operation_id)
            headers = [
                (b"content-type", problems.MEDIA_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                # What is left of a body that was not read would be read as the next request.
                *([(b"connection", b"close")] if status in (408, 413) else []),
            ]
            await sends({"type": "http.response.start", "status": status, "headers": headers})
            await sends({"type": "http.response.body", "body": body})
            closed = True

        async def too_large() -> None:
            await refuse(413, "too_large", f"A body may have {self.max_body_bytes} bytes")

        async def receives() -> Message:
            nonlocal body_left, comes
            if comes:
                try:
                    message = await _in_time(receive, self.body_patience_s)
                except TimeoutError:
                    if not closed and not trace.status:
                        await refuse(
                            408, "body_too_slow", f"No byte of the body for {self.body_patience_s:g} s"
                        )
                    return {"type": "http.disconnect"}
                comes = message.get("more_body", False)
            else:
                message = await receive()
            if message["type"] == "http.request":
                body_left -= len(message.get("body", b""))
                if body_left < 0:
                    if not closed and not trace.status:
                        await too_large()
                    return {"type": "http.disconnect"}
            return message

        try:
            if self.looks_ahead and declared > self.max_body_bytes:
                await too_large()
            else:
                await self.app(scope, receives, sends)
        except Exception as error:
            if closed:
                pass  # the app stumbled over the disconnect that we told it of
            elif trace.status:
                raise
            else:
                _log.error(
                    "request failed", request_id=trace.operation_id, method=trace.method, exc_info=error
                )
                await refuse(500, "internal", "Something went wrong here; the request id finds it in our log")
        finally:
            trace.latency_ms = (time.perf_counter() - started) * 1_000
            if trace.route is _NO_ROUTE and (route := scope.get("route")) is not None:
                trace.route = getattr(route, "path", _NO_ROUTE)
            if self.on_end is not None:
                self.on_end(trace)


def _declared_bytes(scope: Scope) -> int:
    """How large the body says that it is: 0 without one, -1 where only its end will tell."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
        if name == b"transfer-encoding":
            return -1
    return 0


async def _in_time(receive: Receive, patience_s: float) -> Message:
    """Receive, or raise TimeoutError. What has arrived is taken without a timer: that would cost more than the rest."""
    steps: Generator[Any, Any, Message] = receive().__await__()
    try:
        waits_for = steps.send(None)
    except StopIteration as end:
        message: Message = end.value
        return message
    async with asyncio.timeout(patience_s):
        return await _go_on(steps, waits_for)


@types.coroutine
def _go_on(steps: Generator[Any, Any, Message], waits_for: Any) -> Generator[Any, Any, Message]:
    """The rest of what was begun by hand, and waits."""
    while True:
        try:
            given = yield waits_for
        except BaseException as error:
            step = partial(steps.throw, error)
        else:
            step = partial(steps.send, given)
        try:
            waits_for = step()
        except StopIteration as end:
            message: Message = end.value
            return message
