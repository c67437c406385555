"""A client that reads an answer as slowly as it likes, at the app's own edge."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp, Message

NDJSON = "application/x-ndjson"


class Reader:
    """One request that asks for lines. What the app sends waits until it is taken."""

    def __init__(self, app: ASGIApp, path: str, secret: str, params: dict[str, str]) -> None:
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": urlencode(params).encode(),
            "headers": [(b"accept", NDJSON.encode()), (b"authorization", f"Bearer {secret}".encode())],
            "client": ("127.0.0.1", 1),
            "server": ("data", 80),
        }
        self._app = app
        self._offered: asyncio.Queue[tuple[Message, asyncio.Event]] = asyncio.Queue()
        self._is_gone = asyncio.Event()
        self._asked = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_whole = False

    async def serve(self) -> None:
        """Let the app answer."""

        async def receive() -> Message:
            if not self._asked:
                self._asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._is_gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            taken = asyncio.Event()
            self._offered.put_nowait((message, taken))
            await taken.wait()

        await self._app(self._scope, receive, send)

    async def take(self) -> bool:
        """Take one message; False where it was the last."""
        async with asyncio.timeout(20):
            message, taken = await self._offered.get()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            is_last = False
        else:
            self.body += message["body"]
            is_last = self.is_whole = not message.get("more_body", False)
        taken.set()
        return not is_last

    async def take_records(self, count: int) -> None:
        """Take as many messages as bring so many records."""
        while self.body.count(b"\n") < count:
            assert await self.take()

    async def rest(self) -> None:
        """Take all that is left."""
        while await self.take():
            pass

    def leave(self) -> None:
        """Go away."""
        self._is_gone.set()

    @property
    def lines(self) -> list[Any]:
        """The lines that have come, whole ones."""
        return [json.loads(line) for line in self.body.split(b"\n")[:-1]]

    @property
    def records(self) -> list[Any]:
        """The records among them."""
        return [line for line in self.lines if "id" in line]

    @property
    def last(self) -> dict[str, Any]:
        """The last line, which is no record."""
        assert self.is_whole
        assert self.body.endswith(b"\n")
        *records, last = self.lines
        assert all("id" in record for record in records)
        assert "id" not in last
        found: dict[str, Any] = last
        return found


@contextlib.asynccontextmanager
async def reading(app: ASGIApp, path: str, secret: str, **params: str) -> AsyncIterator[Reader]:
    """A reader whose request is under way."""
    reader = Reader(app, path, secret, params)
    task = asyncio.create_task(reader.serve())
    try:
        yield reader
    finally:
        reader.leave()
        deadline = time.monotonic() + 10
        while not task.done() and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.take()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
