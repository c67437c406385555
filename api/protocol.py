"""What the server does around an app: what it answers by itself, and how an answer leaves."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn.protocols.http.httptools_impl as httptools_impl
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from core import ids

MAX_URL_BYTES = 65_535
"""The parser's own bound."""
MAX_HEAD_BYTES = 128 * 1_024
"""Of a request line with its headers, and of what follows a body's last chunk beside what one read brings."""
MAX_TOLD_PER_S = 1_000
"""How many requests a second are told to come again later, where many connections send them."""
_UNAVAILABLE = 503
_LEFT_TO_UVICORN = frozenset({b"connection", b"transfer-encoding"})
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t"))


class Protocol(httptools_impl.HttpToolsProtocol):
    """uvicorn's, refusing with problems like everything else, and with a bound on what is no body."""

    url = b""
    _read_bytes = 0
    _first_bytes = 0
    _unused_bytes = 0
    _is_head_too_large = False

    def data_received(self, data: bytes) -> None:
        """Take what one read brought."""
        self._read_bytes = len(data)
        self._unused_bytes += len(data)
        super().data_received(data)
        if self._unused_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """Take the head, but for one that is too large: the first read of it may hold what was before it, too."""
        may_be_too_large = self._first_bytes + self._unused_bytes > MAX_HEAD_BYTES
        if may_be_too_large and _head_bytes(self.url, self.headers) > MAX_HEAD_BYTES:
            self._is_head_too_large = True
            raise ValueError("the parser stops here")
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._first_bytes, self._unused_bytes = self._read_bytes, 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Count anew: bodies have a bound of their own."""
        self._unused_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count anew."""
        self._unused_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, and close."""
        if self._is_head_too_large:
            self._refuse_head()
        elif len(self.url) > MAX_URL_BYTES:
            self._refuse(414, "address_too_long", f"An address may have {MAX_URL_BYTES} bytes")
        else:
            self._refuse(400, "bad_request", "This is not an HTTP request")

    def _start_asgi_task(self, cycle: httptools_impl.RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, partial(_answering, app, cycle))

    def _refuse_head(self) -> None:
        self._refuse(431, "headers_too_large", f"Request line and headers may have {MAX_HEAD_BYTES} bytes")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        request_id = ids.new()
        body = problems.problem(status, code, detail, request_id)
        headers = [
            *self.server_state.default_headers,
            (b"content-type", problems.MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        lines = [httptools_impl.STATUS_LINE[status], *(b"%s: %s\r\n" % header for header in headers)]
        self.transport.write(b"".join([*lines, b"\r\n", body]))
        self.transport.close()


class _Answer:
    """What an app sends its answer to: a whole one leaves at once, head and body as one piece.

    uvicorn writes the two by themselves, and looks at each header twice: measured, a sixth of what a small answer
    costs. All else, streams and what is refused, is left to it; `send` is its own.
    """

    __slots__ = ("_cycle", "_send", "_start")

    def __init__(self, cycle: httptools_impl.RequestResponseCycle, send: Send) -> None:
        self._cycle = cycle
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Send a part of the answer; the head waits for what follows it."""
        start, self._start = self._start, None
        if message["type"] == "http.response.start":
            self._start = message
            return
        if start is not None:
            if not message.get("more_body", False) and self._is_sent(start, message.get("body", b"")):
                return
            await self._send(start)
        await self._send(message)

    def _is_sent(self, start: Message, body: bytes) -> bool:
        cycle, headers = self._cycle, start.get("headers")
        if not isinstance(headers, list) or cycle.scope["method"] == "HEAD":
            return False
        if cycle.disconnected or cycle.flow.write_paused or not cycle.keep_alive or cycle.response_started:
            return False
        lines = [httptools_impl.STATUS_LINE[start["status"]]]
        length = -1
        for name, value in (*cycle.default_headers, *headers):
            if name in _LEFT_TO_UVICORN:
                return False
            if name == b"content-length":
                length = int(value)
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        # More than the ends of the lines would be what somebody has put into a header, such as another header.
        controls = len(b"\r\n") * (len(headers) + len(cycle.default_headers) + 2)
        if length != len(body) or len(head.translate(None, _CONTROLS)) != len(head) - controls:
            return False
        cycle.transport.writelines((head, body))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if start["status"] == _UNAVAILABLE and any(name == b"retry-after" for name, _ in headers):
            _held.hold(cycle)
        else:
            cycle.on_response()
        return True


class _Held:
    """Connections that were told to come again later, and are not read before: told faster than this one after the
    other, they would take the time of those who are served."""

    def __init__(self) -> None:
        self._count = 0

    def hold(self, cycle: httptools_impl.RequestResponseCycle) -> None:
        """Do not read a connection for a while, nor serve what it has sent already; the longer the more there are."""
        cycle.flow.pause_reading()
        self._count += 1
        # Who calls `on_response` reads on, and starts what waits; the cycle forgets it at its own end.
        asyncio.get_running_loop().call_later(self._count / MAX_TOLD_PER_S, self._let_go, cycle.on_response)

    def _let_go(self, on_response: Callable[[], None]) -> None:
        self._count -= 1
        on_response()


_held = _Held()


async def _answering(
    app: ASGIApp, cycle: httptools_impl.RequestResponseCycle, scope: Scope, receive: Receive, send: Send
) -> None:
    await app(scope, receive, _Answer(cycle, send))


def _head_bytes(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + len(": \r\n") for name, value in headers)
