"""The Control API on the real databases, as its own roles see them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from pydantic import SecretStr

from api.control.app import create_app
from core.ids import Ulid
from core.settings import ControlApiSettings
from tests.api import worlds
from tests.api.worlds import World
from tests.conftest import Databases

PORTAL_TOKEN = "portal-token-of-the-tests"


@dataclass
class Portal:
    """The portal's backend: calls for itself, or for a user."""

    http: httpx.AsyncClient

    async def call(
        self,
        method: str,
        path: str,
        *,
        user: Ulid | None = None,
        json: Any = None,
        key: str | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Make one call."""
        headers = {"Authorization": f"Bearer {PORTAL_TOKEN}", **more.pop("headers", {})}
        if user is not None:
            headers["Planebase-Acting-User"] = user
        if key is not None:
            headers["Idempotency-Key"] = key
        if json is not None:
            more["json"] = json
        return await self.http.request(method, path, headers=headers, **more)


def settings(databases: Databases, **changes: Any) -> ControlApiSettings:
    """The app's settings, with its own roles' logins."""
    given: dict[str, Any] = {
        "control_dsn": databases.secret("control_api", "control"),
        "activity_dsn": databases.secret("control_api", "activity"),
        "alarms_dsn": databases.secret("control_api", "alarms"),
        "portal_token": SecretStr(PORTAL_TOKEN),
        "secret_key": SecretStr(Fernet.generate_key().decode()),
        "temporal_address": "127.0.0.1:1",
        "temporal_ui": "http://ui.test",
    }
    return ControlApiSettings(**(given | changes))


def client(app: FastAPI) -> httpx.AsyncClient:
    """A client in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://control.test")


@pytest.fixture(scope="session")
async def app(databases: Databases) -> AsyncIterator[FastAPI]:
    """The app."""
    made = create_app(settings(databases))
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture(scope="session")
async def portal(app: FastAPI) -> AsyncIterator[Portal]:
    """The portal, calling the app."""
    async with client(app) as http:
        yield Portal(http)


@pytest.fixture(scope="session")
async def other(databases: Databases) -> World:
    """Another tenant, which nobody of ours may see."""
    return await worlds.make(databases)


@pytest.fixture
async def world(databases: Databases) -> World:
    """A tenant of this test's own."""
    return await worlds.make(databases)
