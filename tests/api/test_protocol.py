"""How answers leave the APIs' server: byte for byte as uvicorn's own would send them."""

import asyncio
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.protocol import Protocol
from tests.api.wires import END, READ, App, Served, Wire, get, part, serving, start, until, whole

JSON = (b"content-type", b"application/json")
CLOSE = (b"connection", b"close")
_BIG_BYTES = 5 * 2**20
_PIECE_BYTES = 2**16
_HIGH_WATER_BYTES = 2**16
"""Above it, uvloop tells a protocol to write no more."""
_HEAD_BYTES = 1_024
_BROKEN = [b"a\r\nb: c", b"a\nb: c", b"a\rb: c", b"a\n", b"a\r\n\r\nc", b"a\x00b", b"a\x7f"]

KEPT: dict[str, list[Any]] = {
    "/200": whole(200, b'{"id":"1"}', JSON),
    "/201": whole(201, b'{"id":"1"}', JSON, (b"location", b"/1")),
    "/404": whole(404, b"nothing", JSON),
    "/503": whole(503, b"not now", JSON),
    "/599": whole(599, b"no name"),
    "/204": [start(204), part(b"")],
    "/204-with-length": whole(204, b""),
    "/304": [start(304, (b"etag", b'"1"')), part(b"")],
    "/empty": whole(200, b""),
    "/no-headers": [{"type": "http.response.start", "status": 204}, {"type": "http.response.body"}],
    "/headers-once": [{**start(200), "headers": ((b"content-length", b"2"), JSON)}, part(b"{}")],
    "/tab-and-latin-1": whole(200, b"ok", (b"a", b"b\tc \xe9")),
    "/same-header-twice": whole(200, b"ok", (b"a", b"b"), (b"a", b"c")),
    "/binary": whole(200, bytes(range(256)) * 300),
    "/no-length": [start(200, JSON), part(b"{}")],
    "/no-length-and-empty": [start(200, JSON), part(b"")],
    "/chunks": [start(200, (b"transfer-encoding", b"chunked")), part(b"{}")],
    "/stream": [
        start(200),
        part(b"one", more=True),
        part(b"", more=True),
        part(b"three", more=True),
        part(b""),
    ],
    "/stream-with-length": [
        start(200, (b"content-length", b"6")),
        part(b"one", more=True),
        part(b"two", more=True),
        part(b""),
    ],
    "/whole-and-an-end": [start(200, (b"content-length", b"3")), part(b"one", more=True), part(b"")],
    "/reads": [READ, *whole(200, b"read")],
    "/reads-on": [*whole(200, b"not read"), READ],
}
CLOSED: dict[str, list[Any]] = {
    "/close": whole(200, b"bye", CLOSE),
    "/close-among-others": whole(200, b"bye", (b"connection", b"x, Close")),
    "/raises": [ValueError("before the head")],
    "/nothing": [],
    "/raises-in-its-body": [start(200), part(b"one", more=True), ValueError("in the body")],
    "/raises-in-a-body-of-known-length": [
        start(200, (b"content-length", b"6")),
        part(b"one", more=True),
        ValueError("in the body"),
    ],
    "/raises-at-its-end": [*whole(200, b"ok"), ValueError("after all")],
    "/answers-twice": [*whole(200, b"ok"), *whole(200, b"ok")],
    "/ends-in-its-body": [start(200), part(b"one", more=True)],
    **{f"/broken-{i}": whole(200, b"ok", (b"a", value)) for i, value in enumerate(_BROKEN)},
}
LYING: dict[str, list[Any]] = {
    "/length-too-small": [start(200, (b"content-length", b"3")), part(b"four")],
    "/length-too-large": [start(200, (b"content-length", b"5")), part(b"four")],
    "/length-and-no-body": [start(200, (b"content-length", b"5")), part(b"")],
    "/stream-too-long": [start(200, (b"content-length", b"5")), part(b"one", more=True), part(b"two")],
    "/stream-too-short": [start(200, (b"content-length", b"7")), part(b"one", more=True), part(b"two")],
}
HEAD_ONLY: dict[str, list[Any]] = {
    "/raises-after-its-head": [start(200, (b"content-length", b"2")), ValueError("after the head")],
    "/ends-after-its-head": [start(200, (b"content-length", b"2"))],
}
ANSWERS = {**KEPT, **CLOSED, **LYING, **HEAD_ONLY}
WAYS: dict[str, dict[str, Any]] = {
    "get": {},
    "head": {"method": b"HEAD"},
    "closes": {"lines": [b"connection: close"]},
    "1.0": {"version": b"1.0"},
    "1.0-and-stays": {"version": b"1.0", "lines": [b"connection: keep-alive"]},
}


@dataclass
class Both:
    """The same app behind both: the APIs' server, and uvicorn as it is."""

    ours: Served
    plain: Served


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    app = App(ANSWERS)
    with serving(app, Protocol) as ours, serving(app, HttpToolsProtocol) as plain:
        yield Both(ours, plain)


def asked(served: Served, path: str, way: str) -> bytes:
    """All that comes on a connection where a path is asked for, and then, if it is kept, its end."""
    how = dict(WAYS[way])
    with Wire(served) as wire:
        wire.send(get(path, *how.pop("lines", ()), **how))
        answer = wire.answer(has_body=way != "head")
        if not wire.has_ended and path not in CLOSED and b"connection: close" not in answer:
            wire.send(END)
        return undated(answer + wire.rest())


def undated(raw: bytes) -> bytes:
    """The same, whenever it was sent; a head has one date."""
    undated, dates = re.subn(rb"date: [^\r]+ GMT\r\n", b"", raw)
    assert dates == raw.count(b"HTTP/1.1 ") - raw.count(b"HTTP/1.1 100 ")
    return undated


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", [*KEPT, *CLOSED, *LYING])
def test_answers_are_on_the_wire_what_uvicorn_sends(both: Both, path: str, way: str) -> None:
    ours = asked(both.ours, path, way)
    assert ours == asked(both.plain, path, way)
    if path in KEPT and way in ("get", "head"):
        assert ours.count(b"HTTP/1.1 ") == 2
        assert ours.endswith(b"\r\n\r\nend")


@pytest.mark.parametrize("path", [path for path in CLOSED if path.startswith("/broken")])
def test_a_header_cannot_bring_another(both: Both, path: str) -> None:
    assert asked(both.ours, path, "get") == b""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", HEAD_ONLY)
def test_an_app_that_fails_before_its_body_has_sent_no_head(both: Both, path: str, way: str) -> None:
    with Wire(both.ours) as wire:
        how = dict(WAYS[way])
        wire.send(get(path, *how.pop("lines", ()), **how))
        assert undated(wire.rest()) == asked(both.plain, "/raises", way)


@pytest.mark.parametrize("path", KEPT)
def test_requests_that_are_sent_at_once_are_answered_in_order(both: Both, path: str) -> None:
    raw = b"".join([get(path), get("/stream"), get(path), get(path), get("/404"), get(path), END])

    def answered(served: Served) -> bytes:
        with Wire(served) as wire:
            wire.send(raw)
            return undated(wire.rest())

    ours = answered(both.ours)
    assert ours == answered(both.plain)
    assert ours.count(b"HTTP/1.1 ") == 7


@pytest.mark.parametrize("path", ["/close", "/raises", "/length-too-small"])
def test_nothing_is_answered_after_an_answer_that_closes(both: Both, path: str) -> None:
    def answered(served: Served) -> bytes:
        with Wire(served) as wire:
            wire.send(get("/200") + get(path) + get("/200"))
            return undated(wire.rest())

    ours = answered(both.ours)
    assert ours == answered(both.plain)
    assert ours.count(b"HTTP/1.1 ") == 2


@pytest.mark.parametrize(
    ("path", "asks"),
    [("/reads", True), ("/reads-on", False), ("/200", False), ("/no-length", False), ("/raises", False)],
)
def test_a_body_is_asked_for_only_by_who_reads_it(both: Both, path: str, asks: bool) -> None:
    head = get(path, b"content-length: 3", b"expect: 100-continue", method=b"POST")

    def answered(served: Served) -> bytes:
        with Wire(served) as wire:
            wire.send(head)
            answer = wire.answer()
            if b"connection: close" not in answer:
                wire.send(b"abc" + END)
                answer += wire.rest()
            return undated(answer)

    ours = answered(both.ours)
    assert ours == answered(both.plain)
    assert ours.startswith(b"HTTP/1.1 100 ") == asks


@pytest.mark.parametrize("path", ["/reads", "/reads-on", "/200", "/stream"])
def test_a_body_is_not_the_next_request(both: Both, path: str) -> None:
    def answered(served: Served) -> bytes:
        with Wire(served) as wire:
            wire.send(get(path, b"content-length: 200000", method=b"POST"))
            wire.send(b"x" * 200_000 + END)
            return undated(wire.rest())

    assert answered(both.ours) == answered(both.plain)


def test_who_watches_whether_the_client_goes_hears_of_the_end_of_the_answer() -> None:
    heard = []

    async def watches(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        watching = asyncio.create_task(receive())
        await asyncio.sleep(0)
        for message in whole(200, b"ok"):
            await send(message)
        heard.append(await watching)

    with serving(watches, Protocol) as served, Wire(served) as wire:
        wire.send(get("/"))
        assert wire.answer().endswith(b"\r\n\r\nok")
        until(lambda: heard == [{"type": "http.disconnect"}])


class Large:
    """An app with large answers: keeps how many bytes have waited in the server, and what became of its calls."""

    def __init__(self) -> None:
        self.served: Served | None = None
        self.max_buffered = 0
        self.calls = 0
        self.is_called, self.has_ended = threading.Event(), threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.served is not None
        self.calls += 1
        size = _PIECE_BYTES if scope["path"] == "/pieces" else _BIG_BYTES
        self.is_called.set()
        if scope["path"] == "/late":
            while (await receive())["type"] != "http.disconnect":
                pass
        await send(start(200, (b"content-length", b"%d" % _BIG_BYTES)))
        for at in range(size, _BIG_BYTES + 1, size):
            await send(part(b"x" * size, more=at < _BIG_BYTES))
            self.max_buffered = max(self.max_buffered, self.served.buffered())
        self.has_ended.set()


@pytest.fixture
def large() -> Iterator[Large]:
    app = Large()
    with serving(app, Protocol) as served:
        app.served = served
        yield app


@pytest.mark.parametrize("path", ["/whole", "/pieces"])
def test_who_reads_slowly_gets_all_and_has_one_answer_waiting(large: Large, path: str) -> None:
    count = 4
    with Wire(large.served, receive_bytes=4_096) as wire:
        wire.send(get(path) * count)
        assert large.is_called.wait(30)
        for _ in range(count):
            head = wire.answer(has_body=False)
            assert b"content-length: %d\r\n" % _BIG_BYTES in head
            for _ in range(_BIG_BYTES // 4_096):
                assert wire.read(4_096) == b"x" * 4_096
        wire.send(END)
    # Of a stream less should wait, but the loop takes some pieces on where it is slow.
    assert large.max_buffered <= _BIG_BYTES + _HIGH_WATER_BYTES + 1_024


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("path", ["/whole", "/pieces", "/late"])
def test_who_goes_in_the_middle_is_forgotten(large: Large, path: str, at_once: bool) -> None:
    assert large.served is not None
    wire = Wire(large.served, receive_bytes=4_096)
    wire.send(get(path))
    assert large.is_called.wait(30)
    if path != "/late":
        assert wire.answer(has_body=False).startswith(b"HTTP/1.1 200 OK\r\n")
        assert wire.read(10_000) == b"x" * 10_000
    wire.close(at_once=at_once)
    assert large.has_ended.wait(30)
    until(lambda: not large.served.connections)
    with Wire(large.served) as other:
        other.send(get("/whole"))
        assert len(other.answer()) > _BIG_BYTES
