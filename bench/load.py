"""A closed-loop HTTP load in a process of its own: keep-alive connections that send, wait, and send again."""

import asyncio
import json
import random
import secrets
import sys
import time
from functools import partial
from typing import Any, cast

import httptools
import uvloop

from bench.stack import values


class _Connection(asyncio.Protocol):
    """One connection; httptools reads the answers."""

    def __init__(self, requests: "Requests", deadline: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._deadline = deadline
        self._done = done
        self.latencies: list[float] = []
        self.failures: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without inheriting from it
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at)
        status = self._parser.get_status_code()
        if status >= 300:
            self.failures.append(str(status))
        if now >= self._deadline:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self.failures.append(f"connection lost: {exc}")
            self._done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests.next())


class Requests:
    """Makes the requests of one operation."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._head = f"Host: bench\r\nAuthorization: Bearer {spec['secret']}\r\n"
        self._count = random.randrange(10**6)
        batch = json.dumps({"records": [{"fields": values(n)} for n in range(100)]}).encode()
        self._bodies = {"create_100": batch}

    def next(self) -> bytes:
        """Return the bytes of the next request."""
        spec, self._count = self._spec, self._count + 1
        path, operation = spec["path"], spec["operation"]
        match operation:
            case "get":
                return f"GET {path}/{random.choice(spec['ids'])} HTTP/1.1\r\n{self._head}\r\n".encode()
            case "list_100":
                return f"GET {path}?limit=100&sort=created_at HTTP/1.1\r\n{self._head}\r\n".encode()
            case "create_1" | "create_1_keyed":
                return self._with_body("POST", path, json.dumps({"fields": values(self._count)}).encode())
            case "create_100":
                return self._with_body("POST", path, self._bodies["create_100"])
            case "update" | "update_keyed":
                body = b'{"fields":{"Count":%d}}' % self._count
                return self._with_body("PATCH", f"{path}/{random.choice(spec['ids'])}", body)
        raise ValueError(operation)

    def _with_body(self, method: str, path: str, body: bytes) -> bytes:
        key = (
            f"Idempotency-Key: {secrets.token_hex(12)}\r\n"
            if self._spec["operation"].endswith("keyed")
            else ""
        )
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{key}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


async def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Run for `seconds` on `connections` connections; returns operations a second, p50 and p99 in ms."""
    loop = asyncio.get_running_loop()
    requests = Requests(spec)
    started = time.perf_counter()
    made = []
    for _ in range(spec["connections"]):
        done: asyncio.Future[None] = loop.create_future()
        made.append((_Connection(requests, started + spec["seconds"], done), done))
    for connection, _ in made:
        await loop.create_connection(partial(_same, connection), "127.0.0.1", spec["port"])
    await asyncio.wait_for(asyncio.gather(*(done for _, done in made)), spec["seconds"] + 30)
    took = time.perf_counter() - started
    latencies = sorted(latency for connection, _ in made for latency in connection.latencies)
    failures = [failure for connection, _ in made for failure in connection.failures]
    return {"per_s": len(latencies) / took, **percentiles(latencies), "failures": failures[:5]}


def _same(connection: _Connection) -> _Connection:
    return connection


def percentiles(latencies: list[float]) -> dict[str, float]:
    """Return p50 and p99 in ms of sorted latencies in s."""
    return {
        f"p{p}_ms": latencies[min(len(latencies) - 1, len(latencies) * p // 100)] * 1_000 for p in (50, 99)
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
