"""What a start looks at and mends in the databases of a stack: roles may have changed themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg
import pytest

from db import roles
from planebase.ports import free_port
from planebase.postgres import Cluster
from planebase.prepare import prepare
from planebase.state import DataDir

MAX_CONNECTIONS = 40


@dataclass
class Prepared:
    """A stack's PostgreSQL, and what its starts said."""

    data_dir: DataDir
    cluster: Cluster
    said: list[str] = field(default_factory=list)

    async def start(self) -> list[str]:
        """Prepare it, and return what was said."""
        self.said.clear()
        secrets = self.data_dir.complete_secrets(roles.LOGINS)
        await prepare(self.data_dir, self.cluster, secrets, self.said.append)
        return self.said

    async def login(self, role: str, database: str) -> asyncpg.Connection:
        """Log in with the password that the stack's processes have."""
        return await asyncpg.connect(
            self.cluster.dsn(database, role, self.data_dir.secrets()["passwords"][role])
        )


@pytest.fixture(scope="module")
async def prepared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prepared]:
    data_dir = DataDir(tmp_path_factory.mktemp("stack") / "data")
    data_dir.create()
    settings = {"fsync": "off", "max_connections": str(MAX_CONNECTIONS)}
    with Cluster(data_dir.path / "postgres", free_port(), settings=settings) as cluster:
        found = Prepared(data_dir, cluster)
        assert "Setting up the databases" in (await found.start())[0]
        yield found


async def test_a_start_that_finds_all_as_it_was_does_nothing(prepared: Prepared) -> None:
    assert await prepared.start() == []


@pytest.mark.parametrize(
    ("role", "does"),
    [
        ("data_api", "alter role data_api password 'taken'"),
        ("data_api", "alter role data_api set default_transaction_read_only = on"),
        ("control_api", "alter role control_api in database activity set statement_timeout = '1ms'"),
        ("maintenance_worker", "alter role maintenance_worker reset all"),
    ],
)
async def test_what_a_role_did_to_itself_is_mended_by_the_next_start(
    prepared: Prepared, role: str, does: str
) -> None:
    conn = await prepared.login(role, "control")
    await conn.execute(does)
    await conn.close()
    first = (await prepared.start())[0]
    assert first.endswith(f": {role}")
    assert await prepared.start() == []
    conn = await prepared.login(role, "control")
    assert await conn.fetchval("show default_transaction_read_only") == "off"
    await conn.close()


async def test_an_api_holds_half_of_the_servers_connections_at_most(prepared: Prepared) -> None:
    async with AsyncExitStack() as open_ones:
        for _ in range(MAX_CONNECTIONS // 2):
            conn = await prepared.login("data_api", "data")
            open_ones.push_async_callback(conn.close)
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await prepared.login("data_api", "data")
        others = await asyncio.gather(*(prepared.login("maintenance_worker", "data") for _ in range(8)))
        for conn in others:
            await conn.close()
