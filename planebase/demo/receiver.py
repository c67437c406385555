"""A webhook receiver on this machine that refuses the first deliveries and keeps what it got."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planebase.ports import HOST

_MAX_BODY_BYTES = 65_536


@dataclass
class Receiver:
    """Answers 503 to the first `refusals` calls, then 200; every call is kept in `calls` and in a file."""

    refusals: int
    log: Path
    port: int = 0
    calls: list[dict[str, Any]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where the platform delivers to."""
        return f"http://{HOST}:{self.port}/hook"

    @property
    def delivered(self) -> list[dict[str, Any]]:
        """The calls that were answered with 200."""
        return [call for call in self.calls if call["status"] == 200]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Receiver"]:
        """Listen while the block runs."""
        server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:])
            }
            body = await reader.readexactly(min(int(headers.get("content-length", "0")), _MAX_BODY_BYTES))
            status = 503 if len(self.calls) < self.refusals else 200
            call = {
                "webhook_id": headers.get("webhook-id"),
                "attempt": len(self.calls) + 1,
                "status": status,
                "signed": "webhook-signature" in headers,
                "body": json.loads(body or b"null"),
            }
            # On disk before the answer: what the sender believes delivered is in the log.
            with self.log.open("a") as lines:
                lines.write(json.dumps(call) + "\n")
            self.calls.append(call)
            reason = "OK" if status == 200 else "Service Unavailable"
            writer.write(
                f"HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
            )
            await writer.drain()
            if status == 200:
                self.arrived.set()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, ConnectionError):
            pass
        finally:
            writer.close()
