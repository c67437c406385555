"""Other people's servers, for tests: the sandbox's payment provider and mail receiver, and a receiver of hooks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from pydantic import SecretStr

from planebase.ports import free_port
from planebase.sandbox import mail, payments

PAYMENTS_KEY = SecretStr("sandbox-key")


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve an ASGI app on this machine; yields its address."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1, lifespan="off")
    )
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await task


@dataclass
class Sandbox:
    """The payment provider, and what it has in its own books."""

    url: str
    ledger: payments.Ledger

    async def behave(self, customer: str, mode: str, times: int = 1, hang_s: float = 60) -> None:
        """Say how the next charges of a customer go."""
        async with httpx.AsyncClient(headers={"Authorization": "Bearer sandbox-key"}) as client:
            body = {"customer": customer, "mode": mode, "times": times, "hang_s": hang_s}
            answer = await client.post(f"{self.url}/_control", json=body)
            assert answer.status_code == 204

    def charges(self, customer: str) -> list[tuple[str, int]]:
        """Return a customer's charges, oldest first."""
        return [(row["status"], row["amount_cents"]) for row in reversed(self.ledger.charges(customer, 100))]


@pytest_asyncio.fixture(scope="session")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    """The real sandbox provider over HTTP."""
    ledger = payments.Ledger(tmp_path_factory.mktemp("payments") / "payments.db")
    async with served(payments.create_app(ledger, PAYMENTS_KEY.get_secret_value())) as url:
        yield Sandbox(url, ledger)
    ledger.close()


@dataclass
class Receiver:
    """A receiver of hooks: answers as it is told, and keeps what it got."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    body: bytes = b"ok"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.calls.append(({k.decode(): v.decode() for k, v in scope["headers"]}, body))
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        raw = [(k.encode(), v.encode()) for k, v in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        with contextlib.suppress(Exception):
            await send({"type": "http.response.body", "body": self.body})


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of its own for each test."""
    made = Receiver()
    async with served(made) as url:
        made.url = f"{url}/hook"
        yield made


@dataclass
class Mails:
    """The sandbox's mail receiver."""

    url: str
    box: mail.Mailbox


@pytest_asyncio.fixture(scope="session")
async def mails(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mails]:
    """The real SMTP sink."""
    box = mail.Mailbox(Path(tmp_path_factory.mktemp("mails")))
    port = free_port()
    server = await mail.serve(box, "127.0.0.1", port)
    yield Mails(f"smtp://127.0.0.1:{port}", box)
    server.close()
