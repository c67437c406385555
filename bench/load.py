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

_MADE = 1_000


class _Connection(asyncio.Protocol):
    """One connection; httptools reads the answers."""

    def __init__(self, requests: "Requests", deadline: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._deadline = deadline
        self._done = done
        self.latencies: list[float] = []
        self.shed: list[float] = []
        """How long it took to be told that the process has too much to do."""
        self.failures: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without inheriting from it
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        status = self._parser.get_status_code()
        if status == 503 and self._requests.may_be_shed:
            self.shed.append(now - self._sent_at)
        else:
            self.latencies.append(now - self._sent_at)
            if status >= 300:
                self.failures.append(str(status))
        if now >= self._deadline:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
        elif (early_s := self._sent_at + self._requests.interval_s - now) > 0:
            asyncio.get_running_loop().call_later(early_s, self._send)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self.failures.append(f"connection lost: {exc}")
            self._done.set_result(None)

    def _send(self) -> None:
        if self._transport.is_closing():
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests.next())


class Requests:
    """The requests of one operation, made before the clock runs; what must differ from call to call is put in."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._made = [_request(spec, n) for n in range(_MADE)]
        self._counts = sum(spec["operation"].count(word) for word in ("update", "keyed"))
        self._count = random.randrange(10**8, 8 * 10**8)  # always of nine digits
        self.may_be_shed = "rate" in spec
        # Each connection's share of the rate: who is answered late sends at once, and never more than one request.
        self.interval_s = spec["connections"] / spec["rate"] if "rate" in spec else 0.0

    def next(self) -> bytes:
        """Return the bytes of the next request."""
        self._count += 1
        made = self._made[self._count % _MADE]
        return made % ((self._count,) * self._counts) if self._counts else made


def _request(spec: dict[str, Any], n: int) -> bytes:
    path, ids, secret = spec["path"], spec["ids"], spec["secret"]
    body: dict[str, Any] | None = None
    match spec["operation"].removesuffix("_keyed"):
        case "get":
            method, path = "GET", f"{path}/{random.choice(ids)}"
        case "list_100":
            cursor, _, _ = random.choice(spec["pages"])
            method, path = "GET", f"{path}?limit=100&sort=created_at&cursor={cursor}"
        case "list_100_same":
            method, path = "GET", f"{path}?limit=100&sort=created_at"
        case "page":
            method, path = "GET", f"{path}?{spec['query']}"
        case "get_of_many":
            target = random.choice(spec["targets"])
            method, path, secret = "GET", target["path"], target["secret"]
        case "create_1":
            method, body = "POST", {"fields": values(n)}
        case "create_100":
            method, body = "POST", {"records": [{"fields": values(n)} for n in range(100)]}
        case "update":
            method, path = "PATCH", f"{path}/{random.choice(ids)}"
            body = {"fields": {"Count": 0}}
        case operation:
            raise ValueError(operation)
    content = b"" if body is None else json.dumps(body).encode()
    if method == "PATCH":  # one that changes something, each time that it is sent
        content = content.replace(b"0", b"%d")
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {secret}\r\n"
    if spec["operation"].endswith("keyed"):
        head += f"Idempotency-Key: {secrets.token_hex(8)}-%d\r\n"
    if content:
        length = len(content.replace(b"%d", b"9" * 9))
        head += f"Content-Length: {length}\r\n"
    return head.encode() + b"\r\n" + content


async def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Run for `seconds` on `connections` connections; returns operations a second, p50 and p99 in ms."""
    loop = asyncio.get_running_loop()
    requests = Requests(spec)
    started, used = time.perf_counter(), time.process_time()
    made = []
    for _ in range(spec["connections"]):
        done: asyncio.Future[None] = loop.create_future()
        made.append((_Connection(requests, started + spec["seconds"], done), done))
    for connection, _ in made:
        await loop.create_connection(partial(_same, connection), "127.0.0.1", spec["port"])
    await asyncio.wait_for(asyncio.gather(*(done for _, done in made)), spec["seconds"] + 30)
    took = time.perf_counter() - started
    latencies = sorted(latency for connection, _ in made for latency in connection.latencies)
    shed = sorted(latency for connection, _ in made for latency in connection.shed)
    failures = [failure for connection, _ in made for failure in connection.failures]
    cpu_us = (time.process_time() - used) / len(latencies) * 1e6
    return {
        "per_s": len(latencies) / took,
        **percentiles(latencies),
        "cpu_us": cpu_us,
        "shed_per_s": len(shed) / took,
        **{f"shed_{name}": value for name, value in percentiles(shed or [0.0]).items()},
        "failures": failures[:5],
    }


def _same(connection: _Connection) -> _Connection:
    return connection


def percentiles(latencies: list[float]) -> dict[str, float]:
    """Return p50 and p99 in ms of sorted latencies in s."""
    return {
        f"p{p}_ms": latencies[min(len(latencies) - 1, len(latencies) * p // 100)] * 1_000 for p in (50, 99)
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
