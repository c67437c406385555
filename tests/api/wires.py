"""Small apps behind the real server, and what goes over the wire between it and a bare socket."""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

GUARD_S = 30
"""How long anything may take before it counts as never."""
END = b"GET /end HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
READ = {"type": "read"}
"""A step of an app: take the whole body of the request."""


class App:
    """An ASGI app: at each path it does what stands there, and keeps who came when."""

    def __init__(self, steps: Mapping[str, Sequence[Any]]) -> None:
        self.steps = {**steps, "/end": whole(200, b"end")}
        self.calls: list[tuple[str, float]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append((scope["path"], time.monotonic()))
        for step in self.steps[scope["path"]]:
            if isinstance(step, Exception):
                raise step
            if step is READ:
                while (await receive()).get("more_body"):
                    pass
            else:
                await send(dict(step))

    def paths(self) -> list[str]:
        """Who came, in order."""
        return [path for path, _ in self.calls]


def start(status: int, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """The message of a head."""
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    """The message of a body, or of a part of one."""
    return {"type": "http.response.body", "body": body, "more_body": more}


def whole(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> list[dict[str, Any]]:
    """The messages of a whole answer that says how long it is."""
    return [start(status, (b"content-length", b"%d" % len(body)), *headers), part(body)]


@dataclass
class Served:
    """A server with its own event loop in a thread of its own."""

    port: int
    server: uvicorn.Server

    @property
    def connections(self) -> list[Any]:
        """Those that the server has."""
        return list(self.server.server_state.connections)

    def buffered(self) -> int:
        """How many bytes of answers wait in the server."""
        return sum(each.transport.get_write_buffer_size() for each in self.connections)

    def abort(self) -> None:
        """Drop all connections, also those that are not read."""
        for each in self.connections:
            each.loop.call_soon_threadsafe(each.transport.abort)
        until(lambda: not self.connections)


@contextlib.contextmanager
def serving(app: Any, protocol: type[asyncio.Protocol]) -> Iterator[Served]:
    """Serve an app as the APIs are served, by this protocol."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=2 * GUARD_S,
            timeout_graceful_shutdown=GUARD_S // 2,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Served(listener.getsockname()[1], server)
        finally:
            server.should_exit = True
            thread.join(GUARD_S)
        assert not thread.is_alive()


class Wire:
    """A connection to a server."""

    def __init__(self, served: Served, *, receive_bytes: int | None = None) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(GUARD_S)
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.connect(("127.0.0.1", served.port))
        self._stream = self._socket.makefile("rb")
        self.has_ended = False

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(raw)

    def read(self, size: int) -> bytes:
        """Return that many bytes, or fewer if the server closes before."""
        got = self._stream.read(size)
        self.has_ended |= len(got) < size
        return got

    def rest(self) -> bytes:
        """Return what comes until the server closes."""
        return self._stream.read()

    def answer(self, *, has_body: bool = True) -> bytes:
        """Return one answer, or what comes of it until the server closes."""
        raw = head = self._lines()
        lines = head.lower().split(b"\r\n")
        if not has_body:
            return raw
        for line in lines:
            if line.startswith(b"content-length:"):
                return raw + self.read(int(line.split(b":")[1]))
        if b"transfer-encoding: chunked" in lines:
            while not self.has_ended and not raw.endswith(b"\r\n0\r\n\r\n"):
                size = self._line()
                raw += size + (self.read(int(size, 16) + 2) if size else b"")
        return raw

    def close(self, *, at_once: bool = False) -> None:
        """Go, in order or by a reset."""
        if at_once:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.close()
        self._socket.close()

    def _lines(self) -> bytes:
        raw = line = self._line()
        while line not in (b"", b"\r\n"):
            line = self._line()
            raw += line
        return raw

    def _line(self) -> bytes:
        line = self._stream.readline()
        self.has_ended |= not line
        return line


def get(path: str, *lines: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    """A request without a body."""
    head = [b"%s %s HTTP/%s" % (method, path.encode(), version), b"host: x", *lines, b"", b""]
    return b"\r\n".join(head)


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + GUARD_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
