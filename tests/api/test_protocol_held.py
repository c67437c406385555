"""Who was told to come again later: not read for a while, the longer the more they are, and then served as before."""

import asyncio
from collections.abc import Iterator

import pytest

from api import protocol
from tests.api.wires import GUARD_S, App, Served, Wire, get, part, serving, start, until, whole

LATER = (b"retry-after", b"1")
NEVER_PER_S = 1e-6
"""So few are told, that a pause does not end while a test runs."""
NOT_HELD = {
    "/503": whole(503, b"no"),
    "/429": whole(429, b"no", LATER),
    "/200": whole(200, b"yes", LATER),
    "/streamed": [start(503, LATER), part(b"n", more=True), part(b"o")],
}


class Held:
    """A server, and how many it holds."""

    def __init__(self, served: Served, app: App, holds: protocol._Held) -> None:
        self.served = served
        self.app = app
        self.holds = holds

    @property
    def count(self) -> int:
        """How many are held."""
        return self.holds._count

    def told(self) -> Wire:
        """A connection that was told to come again later."""
        wire = Wire(self.served)
        wire.send(get("/later"))
        assert wire.answer().startswith(b"HTTP/1.1 503 ")
        return wire

    def serve_others(self) -> None:
        """Serve others, and so read who can be read."""
        for _ in range(3):
            with Wire(self.served) as wire:
                wire.send(get("/other"))
                assert wire.answer().endswith(b"\r\n\r\nother")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    holds = protocol._Held()
    monkeypatch.setattr(protocol, "_held", holds)
    steps = {
        "/later": whole(503, b"later", LATER),
        "/next": whole(200, b"next"),
        "/other": whole(200, b"other"),
    }
    app = App({**steps, **NOT_HELD})
    with serving(app, protocol.Protocol) as served:
        yield Held(served, app, holds)
        served.abort()


def told_per_s(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    monkeypatch.setattr(protocol, "MAX_TOLD_PER_S", count)


def test_who_was_told_to_come_later_is_not_read(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    told_per_s(monkeypatch, NEVER_PER_S)
    wires = [held.told() for _ in range(3)]
    for wire in wires:
        wire.send(get("/next"))
    held.serve_others()
    assert "/next" not in held.app.paths()
    assert held.count == 3


@pytest.mark.parametrize("follows", ["/later", "/next"])
def test_what_was_sent_at_once_waits_too(held: Held, monkeypatch: pytest.MonkeyPatch, follows: str) -> None:
    told_per_s(monkeypatch, NEVER_PER_S)
    with Wire(held.served) as wire:
        wire.send(get("/later") + get(follows) * 20)
        assert wire.answer().startswith(b"HTTP/1.1 503 ")
        held.serve_others()
        assert held.app.paths() == ["/later", "/other", "/other", "/other"]
        assert held.count == 1


@pytest.mark.parametrize("is_at_once", [False, True])
def test_what_follows_is_answered_after_the_pause(
    held: Held, monkeypatch: pytest.MonkeyPatch, is_at_once: bool
) -> None:
    pause_s = 0.2
    told_per_s(monkeypatch, 1 / pause_s)
    with Wire(held.served) as wire:
        wire.send(get("/later") + (get("/next") if is_at_once else b""))
        assert wire.answer().startswith(b"HTTP/1.1 503 ")
        if not is_at_once:
            wire.send(get("/next"))
        assert wire.answer().endswith(b"\r\n\r\nnext")
        wire.send(get("/next"))
        assert wire.answer().endswith(b"\r\n\r\nnext")
    (_, told_at), (_, next_at), _ = held.app.calls
    # The loop's clock has milliseconds.
    assert next_at - told_at > pause_s - 0.01
    assert held.count == 0


async def test_no_more_are_told_in_a_second_however_many_ask(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate_per_s, callers, each = 50, 10, 4
    told_per_s(monkeypatch, rate_per_s)

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", held.served.port)
        for _ in range(each):
            writer.write(get("/later"))
            assert (await reader.readuntil(b"later")).startswith(b"HTTP/1.1 503 ")
        writer.close()

    async with asyncio.timeout(GUARD_S):
        await asyncio.gather(*(ask() for _ in range(callers)))
    times = sorted(at for _, at in held.app.calls)
    assert len(times) == callers * each
    # The first of each is told at once. Who comes late finds fewer, and waits less: half is left for that.
    assert times[-1] - times[0] > (callers * each - callers) / rate_per_s / 2
    await asyncio.to_thread(until, lambda: held.count == 0)


def test_one_who_sends_all_at_once_is_told_no_faster(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    told_per_s(monkeypatch, 20)
    with Wire(held.served) as wire:
        wire.send(get("/later") * 9)
        for _ in range(9):
            assert wire.answer().startswith(b"HTTP/1.1 503 ")
    assert held.app.calls[-1][1] - held.app.calls[0][1] > 8 * (1 / 20 - 0.002)


def test_a_body_that_was_not_read_is_not_what_follows(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    told_per_s(monkeypatch, 20)
    with Wire(held.served) as wire:
        wire.send(get("/later", b"content-length: 500000", method=b"POST") + b"x" * 500_000 + get("/next"))
        assert wire.answer().startswith(b"HTTP/1.1 503 ")
        assert wire.answer().endswith(b"\r\n\r\nnext")
    assert held.app.paths() == ["/later", "/next"]


def test_who_goes_in_the_pause_is_forgotten(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    told_per_s(monkeypatch, 20)
    stays, *gone = [held.told() for _ in range(7)]
    waiting = Wire(held.served)
    waiting.send(get("/later") + get("/next") * 3)
    for i, wire in enumerate([waiting, *gone]):
        wire.close(at_once=i % 2 == 0)
    until(lambda: held.count == 0)
    until(lambda: len(held.served.connections) == 1)
    with stays:
        stays.send(get("/next"))
        assert stays.answer().endswith(b"\r\n\r\nnext")


def test_who_is_dropped_in_the_pause_is_let_go(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    told_per_s(monkeypatch, 2)
    with held.told() as wire:
        wire.send(get("/next"))
        held.served.abort()
        until(lambda: held.count == 0)
    held.serve_others()
    assert "/next" not in held.app.paths()


@pytest.mark.parametrize("path", NOT_HELD)
def test_nobody_else_is_held(held: Held, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    told_per_s(monkeypatch, NEVER_PER_S)
    with Wire(held.served) as wire:
        for _ in range(3):
            wire.send(get(path) + get("/next"))
            wire.answer()
            assert wire.answer().endswith(b"\r\n\r\nnext")
    assert held.count == 0


@pytest.mark.parametrize("how", [{"version": b"1.0"}, {"method": b"GET", "lines": [b"connection: close"]}])
def test_a_connection_that_ends_is_not_held(held: Held, monkeypatch: pytest.MonkeyPatch, how: dict) -> None:
    told_per_s(monkeypatch, NEVER_PER_S)
    how = dict(how)
    with Wire(held.served) as wire:
        wire.send(get("/later", *how.pop("lines", ()), **how))
        assert wire.answer().startswith(b"HTTP/1.1 503 ")
        assert wire.rest() == b""
    until(lambda: not held.served.connections)
    assert held.count == 0


def test_a_server_that_ends_does_not_wait_for_who_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_held", protocol._Held())
    told_per_s(monkeypatch, NEVER_PER_S)
    app = App({"/later": whole(503, b"later", LATER)})
    with serving(app, protocol.Protocol) as served:
        wire = Wire(served)
        wire.send(get("/later"))
        assert wire.answer().startswith(b"HTTP/1.1 503 ")
    assert wire.rest() == b""
    wire.close()
