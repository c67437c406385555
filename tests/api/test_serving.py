"""The three APIs as they are served: what the server refuses by itself is a problem too, and has its bounds."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from core import ids
from planebase.ports import free_port

ROOT = Path(__file__).parent.parent.parent
NOWHERE = "postgresql://nobody:x@127.0.0.1:1/nothing"
SETTINGS = {
    **{f"PLANEBASE_{name}_DSN": NOWHERE for name in ("CONTROL", "ACTIVITY", "ALARMS", "AUDIT")},
    "PLANEBASE_DATA_PASSWORD": "x",
    "PLANEBASE_CURSOR_SECRET": "x",
    "PLANEBASE_PORTAL_TOKEN": "x",
    "PLANEBASE_SECRET_KEY": Fernet.generate_key().decode(),
}
_PIECE_BYTES = 32_768
_PATIENCE_S = 0.05
HEAD = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
BAD: list[tuple[str, bytes, int, str]] = [
    ("no HTTP", b"nonsense\r\n\r\n", 400, "bad_request"),
    ("no method", b"FETCH / HTTP/1.1\r\nhost: x\r\n\r\n", 400, "bad_request"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request"),
    ("no ASCII", b"GET /\xc3\xa9 HTTP/1.1\r\nhost: x\r\n\r\n", 400, "bad_request"),
    ("a bad header", HEAD + b"a b: c\r\n\r\n", 400, "bad_request"),
    ("two lengths", HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", 400, "bad_request"),
    (
        "length and chunks",
        HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        400,
        "bad_request",
    ),
    ("a bad chunk", HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400, "bad_request"),
    ("a long address", b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n" % (b"a" * 70_000), 414, "address_too_long"),
    ("no end of an address", b"GET /" + b"a" * 1_000_000, 431, "headers_too_large"),
    ("no end of a header", HEAD + b"a: " + b"b" * 1_000_000, 431, "headers_too_large"),
    ("no end of headers", HEAD + b"a: b\r\n" * 200_000, 431, "headers_too_large"),
]


@pytest.fixture(scope="module", params=["data", "control", "admin"])
async def port(request: Any) -> AsyncIterator[int]:
    """Where one of the APIs answers; its databases are away."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"api.{request.param}",
        cwd=ROOT,
        env={**os.environ, **SETTINGS, f"PLANEBASE_{request.param.upper()}_PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not await answers(port):
            assert process.returncode is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        yield port
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)


async def answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return (await ask(port, HEAD + b"connection: close\r\n\r\n"))[0] == 200
    return False


async def ask(port: int, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; return status, headers and body of what comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        got = b""
        # Piece by piece: what is sent to a server that has closed makes its answer unreadable.
        for start in range(0, len(raw), _PIECE_BYTES):
            writer.write(raw[start : start + _PIECE_BYTES])
            await writer.drain()
            if len(raw) > _PIECE_BYTES:
                with contextlib.suppress(TimeoutError):
                    got = await asyncio.wait_for(reader.read(_PIECE_BYTES), _PATIENCE_S)
                    break
        rest = b""
        with contextlib.suppress(*([ConnectionResetError] if got else [])):
            rest = await asyncio.wait_for(reader.read(), 10)
        head, _, body = (got + rest).partition(b"\r\n\r\n")
    finally:
        writer.close()
    line, *lines = head.decode().split("\r\n")
    return int(line.split()[1]), dict(each.lower().split(": ", 1) for each in lines), body


@pytest.mark.parametrize(("raw", "status", "code"), [each[1:] for each in BAD], ids=[each[0] for each in BAD])
async def test_what_cannot_be_read_is_refused_with_a_problem(
    port: int, raw: bytes, status: int, code: str
) -> None:
    got, headers, body = await ask(port, raw)
    problem = json.loads(body)
    assert (got, problem["status"], problem["code"]) == (status, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert int(headers["content-length"]) == len(body)
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"] == problem["request_id"]
    assert ids.is_ulid(problem["request_id"])
    assert problem["errors"] == []


async def test_heads_below_the_bound_are_read(port: int) -> None:
    line = b"connection: close\r\n"
    assert (await ask(port, HEAD + line + b"a: " + b"b" * 60_000 + b"\r\n\r\n"))[0] == 200
    status, headers, _ = await ask(
        port, b"GET /%s HTTP/1.1\r\nhost: x\r\n" % (b"a" * 60_000) + line + b"\r\n"
    )
    assert status in (401, 404, 503)
    assert headers["content-type"] == "application/problem+json"


def _with_head_of(size: int) -> bytes:
    """A request whose line and headers have this many bytes as they are counted: without their framing."""
    fixed = len(b"/healthz") + len(b"host: x\r\n") + len(b"connection: close\r\n") + len(b"a: \r\n")
    return HEAD + b"connection: close\r\na: " + b"b" * (size - fixed) + b"\r\n\r\n"


@pytest.mark.parametrize(("size", "status"), [(131_072, 200), (131_073, 431), (200_000, 431), (300_000, 431)])
async def test_the_bound_of_a_head_is_exact(port: int, size: int, status: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_with_head_of(size))
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert int(line.split()[1]) == status


async def test_requests_that_follow_each_other_have_a_bound_each(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(5):
        writer.write(HEAD + b"a: " + b"b" * 60_000 + b"\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert head.startswith(b"HTTP/1.1 200")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()
