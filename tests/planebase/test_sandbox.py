"""The sandbox is a real server: what it took is there after a kill, and nobody without the key is served."""

import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from planebase.ports import free_port

ROOT = Path(__file__).parents[2]
KEY = {"Authorization": "Bearer the-key"}


class Sandbox:
    """The sandbox as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http, self.smtp = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def start(self) -> None:
        arguments = ("--http-port", str(self.http), "--smtp-port", str(self.smtp), "--dir", str(self.folder))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "planebase.sandbox", *arguments],
            cwd=ROOT,
            env={**os.environ, "PLANEBASE_SANDBOX_KEY": "the-key"},
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{self.url}/mails", headers=KEY)
            except httpx.TransportError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(sig)
        return self.process.wait(10)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path)
    made.start()
    yield made
    if made.process and made.process.poll() is None:
        made.kill()


def charge(sandbox: Sandbox, key: str, amount_cents: int = 500) -> httpx.Response:
    return httpx.post(
        f"{sandbox.url}/charges",
        headers={**KEY, "Idempotency-Key": key},
        json={"customer": "cus_1", "amount_cents": amount_cents},
    )


def test_charges_and_mails_survive_a_kill(sandbox: Sandbox) -> None:
    first = charge(sandbox, "k1").json()
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", "Hello"
    message.set_content("There")
    with smtplib.SMTP("127.0.0.1", sandbox.smtp) as smtp:
        smtp.send_message(message)
    sandbox.kill()
    sandbox.start()
    assert charge(sandbox, "k1").json() == first
    found = httpx.get(f"{sandbox.url}/charges", params={"idempotency_key": "k1"}, headers=KEY).json()
    assert found == {"charges": [first]}
    (mail,) = httpx.get(f"{sandbox.url}/mails", headers=KEY).json()["mails"]
    assert (mail["to"], mail["subject"], mail["text"].strip()) == ("b@example.com", "Hello", "There")
    assert "There" in httpx.get(f"{sandbox.url}/mails/{mail['id']}", headers=KEY).json()["raw"]


def test_it_ends_when_asked_even_while_a_charge_hangs(sandbox: Sandbox) -> None:
    httpx.post(f"{sandbox.url}/_control", json={"customer": "cus_1", "mode": "timeout"}, headers=KEY)
    with pytest.raises(httpx.TimeoutException):
        httpx.post(
            f"{sandbox.url}/charges",
            headers={**KEY, "Idempotency-Key": "k"},
            json={"customer": "cus_1", "amount_cents": 5},
            timeout=0.3,
        )
    assert sandbox.kill(signal.SIGTERM) in (0, -signal.SIGTERM)


@pytest.mark.parametrize("path", ["/charges", "/mails", "/mails/x"])
def test_nobody_without_the_key_is_served(sandbox: Sandbox, path: str) -> None:
    assert httpx.get(f"{sandbox.url}{path}").status_code == 401
    assert httpx.get(f"{sandbox.url}{path}", headers={"Authorization": "Bearer other"}).status_code == 401


def test_bad_input_is_refused_clearly(sandbox: Sandbox) -> None:
    for body in (
        {},
        {"customer": "c"},
        {"customer": "c", "amount_cents": 0},
        {"customer": "c", "amount_cents": 5, "x": 1},
    ):
        answer = httpx.post(f"{sandbox.url}/charges", headers={**KEY, "Idempotency-Key": "k"}, json=body)
        assert answer.status_code == 422
    assert (
        httpx.post(
            f"{sandbox.url}/charges", headers=KEY, json={"customer": "c", "amount_cents": 5}
        ).status_code
        == 422
    )
    assert charge(sandbox, "same", 5).status_code == 201
    assert charge(sandbox, "same", 6).status_code == 409
    assert httpx.get(f"{sandbox.url}/mails/01kb0000000000000000000001", headers=KEY).status_code == 404
