"""The Data API on the real databases, called through ASGI by clients with real tokens."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.data.app import DataApi
from core.settings import DataApiSettings
from tests.api.data.bursts import noted
from tests.api.data.world import Base, Token, World
from tests.conftest import Databases

Client = Callable[[Token], httpx.AsyncClient]


@pytest.fixture(scope="session")
def world(databases: Databases) -> World:
    """The databases, and how to people them."""
    return World(databases)


def settings_of(databases: Databases, **more: Any) -> DataApiSettings:
    """The Data API's settings for the tests' databases."""
    usual = {
        "control_dsn": databases.secret("data_api", "control"),
        "activity_dsn": databases.secret("data_api", "activity"),
        "data_password": SecretStr(databases.passwords["data_api"]),
        "cursor_secret": SecretStr("a secret of the tests"),
    }
    return DataApiSettings(**(usual | more))


@pytest.fixture(scope="session")
async def app(databases: Databases) -> AsyncIterator[DataApi]:
    """A running Data API."""
    app = DataApi(settings_of(databases))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
async def client(app: DataApi) -> AsyncIterator[Client]:
    """Makes clients that carry a token."""
    made: list[httpx.AsyncClient] = []

    def make(token: Token) -> httpx.AsyncClient:
        http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://data", headers=token.headers
        )
        made.append(http)
        return http

    yield make
    for http in made:
        await http.aclose()


@pytest.fixture
async def base(world: World) -> Base:
    """A new tenant's base with a table of every type."""
    made = await world.tenant()
    await made.add_table("Tasks")
    return made


@pytest.fixture
async def editor(base: Base, client: Client) -> httpx.AsyncClient:
    """A client that may read and write that base."""
    return client(await base.token())


@pytest.fixture
async def groups(app: DataApi, editor: httpx.AsyncClient, base: Base, monkeypatch: Any) -> list[int]:
    """How many calls went together, each time that any did."""
    assert (await editor.get(base.path())).status_code == 200
    return noted(app, monkeypatch)
