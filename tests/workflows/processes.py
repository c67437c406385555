"""Worker processes for tests that kill them: `python -m workers.main` with a pid of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from db.roles import ROLES
from planebase.temporal import Server
from tests.conftest import Databases
from tests.seeds import until

ROOT = Path(__file__).parents[2]
LONG_S = 60


@dataclass
class Process:
    """One worker process."""

    pid: int
    code: int | None = None
    ready: Path = Path("/nonexistent")
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> int | None:
        async with asyncio.timeout(LONG_S):
            await self.ended.wait()
        return self.code


class Workers:
    """Real worker processes with their own pids, started and killed."""

    def __init__(self, databases: Databases, server: Server, folder: Path) -> None:
        self._databases = databases
        self._server = server
        self._folder = folder
        self.log = folder / "worker.log"
        self._count = 0
        self._known: dict[int, Process] = {}
        self._newest: asyncio.Queue[int] = asyncio.Queue()

    async def open(self) -> None:
        self._forks = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.workflows.forks", cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        assert self._forks.stdin is not None
        self._forks.stdin.close()
        await self._forks.wait()
        await self._reading

    async def launch(self, args: Sequence[str], **env: str) -> Process:
        """Start a worker with these arguments; it may not be ready yet."""
        self._count += 1
        ready = self._folder / f"ready-{self._count}"
        given = {**self._environment(), "PLANEBASE_READY_FILE": str(ready), "PLANEBASE_CRASH_AT": "", **env}
        job = {"env": given, "args": list(args), "log": str(self.log)}
        assert self._forks.stdin is not None
        self._forks.stdin.write(json.dumps(job).encode() + b"\n")
        process = self._known[await self._newest.get()]
        process.ready = ready
        return process

    async def start(self, crash_at: str = "", queues: str = "schema,tenants") -> Process:
        """Return a worker that is ready, and will kill itself at a point."""
        process = await self.launch(["--queues", queues, "--loops", "starter"], PLANEBASE_CRASH_AT=crash_at)

        async def is_ready() -> bool:
            return process.ready.exists() or process.ended.is_set()

        await until(is_ready)
        return process

    async def die_at(self, point: str) -> None:
        """Start a worker and return when it has killed itself at `point`."""
        assert await (await self.start(point)).wait() == -signal.SIGKILL

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Process]:
        """A worker that works, and is told to stop at the end."""
        process = await self.start()
        try:
            yield process
        finally:
            if not process.ended.is_set():
                os.kill(process.pid, signal.SIGTERM)
            assert await process.wait() == 0

    def _environment(self) -> dict[str, str]:
        env = {"PLANEBASE_TEMPORAL_ADDRESS": self._server.address, "PLANEBASE_DRAIN_S": "1"}
        env |= {"PLANEBASE_PAYMENTS_URL": "http://127.0.0.1:9", "PLANEBASE_PAYMENTS_KEY": "none"}
        for role in (each for each in ROLES if each.name.endswith("_worker")):
            prefix = f"PLANEBASE_{role.name.removesuffix('_worker').upper()}__"
            for database in role.databases:
                if database != "data":
                    env[f"{prefix}{database.upper()}_DSN"] = self._databases.dsn(role.name, database)
                else:
                    env[f"{prefix}DATA_USER"] = role.name
                    env[f"{prefix}DATA_PASSWORD"] = self._databases.passwords[role.name]
        return env

    async def _read(self) -> None:
        assert self._forks.stdout is not None
        async for line in self._forks.stdout:
            said = json.loads(line)
            if "pid" in said:
                self._known[said["pid"]] = Process(said["pid"])
                await self._newest.put(said["pid"])
            else:
                process = self._known[said["ended"]]
                process.code = said["code"]
                process.ended.set()


@pytest_asyncio.fixture(scope="module")
async def workers(
    databases: Databases, temporal_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Workers]:
    made = Workers(databases, temporal_server, tmp_path_factory.mktemp("workers"))
    await made.open()
    yield made
    await made.close()
