"""The edge by itself: how long it waits for what was announced."""

import asyncio
import json
from typing import Any

import pytest

from api.edge import Edge

BODY = b"content-length", b"4"
CHUNKS = b"transfer-encoding", b"chunked"


class Exchange:
    """One request through an edge: what is received comes from `pieces`, and then nothing more."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[Any] = []
        self._scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}

    def comes(self, body: bytes, *, more: bool) -> None:
        self.pieces.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def run(self, app: Any) -> None:
        async def send(message: Any) -> None:
            self.sent.append(message)

        await Edge(app, max_body_bytes=100, body_patience_s=0.05)(self._scope, self.pieces.get, send)


async def reads(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers when it has the body."""
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.disconnect":
        raise ConnectionError
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize("header", [BODY, CHUNKS])
@pytest.mark.parametrize("first", [None, b"ab"])
async def test_a_body_that_does_not_come_is_not_waited_for(
    header: tuple[bytes, bytes], first: bytes | None
) -> None:
    exchange = Exchange(header)
    if first is not None:
        exchange.comes(first, more=True)
    async with asyncio.timeout(5):
        await exchange.run(reads)
    start, body = exchange.sent
    headers = dict(start["headers"])
    problem = json.loads(body["body"])
    assert (start["status"], problem["status"], problem["code"]) == (408, 408, "body_too_slow")
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    assert problem["request_id"] == headers[b"x-request-id"].decode()


async def test_who_goes_before_the_body_is_there_is_gone() -> None:
    exchange = Exchange(BODY)
    exchange.pieces.put_nowait({"type": "http.disconnect"})
    await exchange.run(reads_or_ends)
    assert exchange.sent == []
    waiting = asyncio.create_task(Exchange(BODY).run(reads))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def reads_or_ends(_scope: Any, receive: Any, _send: Any) -> None:
    """An app that sends nothing to who is gone."""
    assert (await receive())["type"] == "http.disconnect"


async def test_a_body_that_comes_in_time_is_taken_piece_by_piece() -> None:
    exchange = Exchange(BODY)

    async def slowly() -> None:
        for n in range(4):
            await asyncio.sleep(0.03)
            exchange.comes(b"a", more=n < 3)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(slowly())
        group.create_task(exchange.run(reads))
    assert exchange.sent[0]["status"] == 204


async def test_who_waits_for_the_other_side_to_go_is_not_hurried() -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})

    for headers in ((), (BODY,)):
        exchange = Exchange(*headers)
        exchange.comes(b"abcd" if headers else b"", more=False)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(exchange.run(waits))
            await asyncio.sleep(0.2)
            assert exchange.sent == []
            exchange.pieces.put_nowait({"type": "http.disconnect"})
        assert exchange.sent[0]["status"] == 204
