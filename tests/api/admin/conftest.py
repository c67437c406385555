"""The Admin API on the real databases, and operators who can log in."""

import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pyotp
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from pydantic import SecretStr

from api.admin.app import create_app
from core.ids import Ulid, new
from core.settings import AdminApiSettings
from db.control import admins
from tests.api import worlds
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows

SECRET_KEY = Fernet.generate_key().decode()


@dataclass
class Operator:
    """Somebody with a password and a one-time code, who may be logged in."""

    http: httpx.AsyncClient
    email: str
    password: str
    totp_secret: str
    id: Ulid
    token: str | None = None
    used: set[str] = field(default_factory=set)

    def code(self, off_s: int = 0) -> str:
        """The code of now, or of so many seconds from now."""
        return pyotp.TOTP(self.totp_secret).at(int(time.time()) + off_s)

    async def log_in(self, **changes: Any) -> httpx.Response:
        """Try to log in."""
        body = {"email": self.email, "password": self.password, "totp": self.code()} | changes
        answer = await self.http.post("/login", json=body)
        if answer.status_code == 200:
            self.token = answer.json()["token"]
        return answer

    async def call(
        self, method: str, path: str, *, json: Any = None, key: str | None = None, **more: Any
    ) -> httpx.Response:
        """Make one call with the session."""
        headers = {**more.pop("headers", {})}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if key is not None:
            headers["Idempotency-Key"] = key
        if json is not None:
            more["json"] = json
        return await self.http.request(method, path, headers=headers, **more)


def settings(databases: Databases, **changes: Any) -> AdminApiSettings:
    """The app's settings, with its own roles' logins."""
    given: dict[str, Any] = {
        "control_dsn": databases.secret("admin_api", "control"),
        "audit_dsn": databases.secret("admin_api", "audit"),
        "secret_key": SecretStr(SECRET_KEY),
        "temporal_ui": "http://ui.test",
    }
    return AdminApiSettings(**(given | changes))


def client(app: FastAPI) -> httpx.AsyncClient:
    """A client in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://admin.test")


async def make_operator(databases: Databases, http: httpx.AsyncClient) -> Operator:
    """Make an operator who has never logged in."""
    email, password, totp = f"{new()}@example.com", secrets.token_urlsafe(), pyotp.random_base32()
    await admins.ensure_first(databases.owner("control"), email, password, totp, SECRET_KEY)
    found = await rows(databases, "control", "select id from control.admins where email = $1", email)
    return Operator(http, email, password, totp, found[0]["id"])


@pytest.fixture(scope="session")
async def app(databases: Databases) -> AsyncIterator[FastAPI]:
    """The app."""
    made = create_app(settings(databases))
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture(scope="session")
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a session."""
    async with client(app) as made:
        yield made


@pytest.fixture(scope="session")
async def operator(databases: Databases, http: httpx.AsyncClient) -> Operator:
    """An operator who is logged in."""
    made = await make_operator(databases, http)
    answer = await made.log_in()
    assert answer.status_code == 200, answer.text
    return made


@pytest.fixture
async def newcomer(databases: Databases, http: httpx.AsyncClient) -> Operator:
    """An operator of this test's own, who has never logged in."""
    return await make_operator(databases, http)


@pytest.fixture
async def world(databases: Databases) -> World:
    """A tenant of this test's own."""
    return await worlds.make(databases)


async def recorded(databases: Databases, request_id: str) -> list[dict[str, Any]]:
    """What the audit has of a request, oldest first; the outbox's rows as they will arrive there."""
    direct = await rows(
        databases,
        "audit",
        "select * from audit.admin_events where request_id = $1 order by occurred_at, id",
        request_id,
    )
    on_their_way = await rows(
        databases,
        "control",
        "select id, payload from control.outbox where destination = 'audit' and payload ->> 'request_id' = $1",
        request_id,
    )
    return direct + [{"id": row["id"], **row["payload"]} for row in on_their_way]
