"""The real PostgreSQL with its five databases and the real Temporal, once per test run, on free ports."""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import asyncpg
import pytest
from pydantic import SecretStr

from db import migrate, roles
from planebase.ports import free_port
from planebase.postgres import Cluster
from planebase.temporal import Server

CLUSTER_ID = "local"
REGION = "local"


@dataclass
class Databases:
    """The five databases on one real server, and the logins of every role."""

    cluster: Cluster
    passwords: dict[str, str] = field(default_factory=dict)

    def dsn(self, role: str, database: str) -> str:
        """Where `role` finds `database`."""
        return self.cluster.dsn(database, role, self.passwords[role])

    def secret(self, role: str, database: str) -> SecretStr:
        """The same, as the settings have it."""
        return SecretStr(self.dsn(role, database))

    def owner(self, database: str) -> str:
        """The owner's address of `database`."""
        return self.dsn(roles.OWNERS[database], database)

    @contextlib.asynccontextmanager
    async def connect(self, role: str, database: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection as `role`, closed at the end."""
        conn = await asyncpg.connect(self.dsn(role, database))
        try:
            yield conn
        finally:
            await conn.close()

    @contextlib.asynccontextmanager
    async def own(self, database: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection as the owner of `database`."""
        async with self.connect(roles.OWNERS[database], database) as conn:
            yield conn

    @contextlib.asynccontextmanager
    async def administer(self, database: str = "postgres") -> AsyncIterator[asyncpg.Connection]:
        """A connection as the server's superuser."""
        conn = await asyncpg.connect(self.cluster.dsn(database))
        try:
            yield conn
        finally:
            await conn.close()


def pytest_configure() -> None:
    """Heed SIGINT, and let what tests start heed it: a shell's background job is told to ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Five migrated databases with the first cluster registered."""
    yield from own_databases(tmp_path_factory)


def own_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """The same for one folder of tests: what others have asked for and never started is not there."""
    cluster = Cluster(
        tmp_path_factory.mktemp("postgres"), free_port(), settings={"fsync": "off", "max_connections": "300"}
    )
    with cluster:
        held = Databases(cluster, {role: secrets.token_hex(12) for role in roles.LOGINS})
        asyncio.run(_set_up(held))
        yield held


async def _set_up(held: Databases) -> None:
    await roles.bootstrap(held.cluster.dsn(), held.passwords)
    for database in roles.DATABASES:
        await migrate.upgrade(database, held.owner(database))
    async with held.own("control") as conn:
        await conn.execute(
            "insert into control.clusters (id, host, port, database, region, class)"
            " values ($1, '127.0.0.1', $2, 'data', $3, 'shared') on conflict do nothing",
            CLUSTER_ID,
            held.cluster.port,
            REGION,
        )
    async with held.own("data") as conn:
        await conn.execute(
            "insert into platform.identity (cluster_id) values ($1) on conflict do nothing", CLUSTER_ID
        )


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real Temporal server, with waits left to the tests' inputs."""
    server = Server(tmp_path_factory.mktemp("temporal"), free_port(), free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()
