"""kill -9 of the worker at every step boundary: what was asked for is done, or undone, and never half."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import WorkflowExecutionStatus

from core.ids import Ulid
from planebase.temporal import Server
from tests.conftest import Databases
from tests.seeds import until
from tests.workflows.conftest import Platform
from tests.workflows.test_schema_change import STOCK, assert_applied, assert_empty
from tests.workflows.test_tenant_provision import assert_complete, assert_gone

ROOT = Path(__file__).parents[2]
LONG_S = 60


@dataclass
class Process:
    """One worker process."""

    pid: int
    code: int | None = None
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

    async def start(self, crash_at: str = "") -> Process:
        """Return a worker that is ready, and will kill itself at a point."""
        self._count += 1
        ready = self._folder / f"ready-{self._count}"
        env = {**self._environment(), "PLANEBASE_READY_FILE": str(ready), "PLANEBASE_CRASH_AT": crash_at}
        args = ["--queues", "schema,tenants", "--loops", "starter"]
        job = {"env": env, "args": args, "log": str(self._folder / "worker.log")}
        assert self._forks.stdin is not None
        self._forks.stdin.write(json.dumps(job).encode() + b"\n")
        pid = await self._newest.get()
        process = self._known[pid]

        async def is_ready() -> bool:
            return ready.exists() or process.ended.is_set()

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
        for queue in ("schema", "tenants", "maintenance"):
            role = f"{queue}_worker"
            prefix = f"PLANEBASE_{queue.upper()}__"
            env[f"{prefix}CONTROL_DSN"] = self._databases.dsn(role, "control")
            env[f"{prefix}DATA_USER"] = role
            env[f"{prefix}DATA_PASSWORD"] = self._databases.passwords[role]
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


def at(*activities: str) -> list[str]:
    return [f"{name}:{place}" for name in activities for place in ("before", "after")]


async def test_provisioning_survives_a_kill_at_every_boundary(idle: Platform, workers: Workers):
    asked: list[tuple[Ulid, Ulid]] = []
    steps = ("begin_operation", "place", "create_home", "open_account", "activate", "finish_operation")
    for point in at("start", *steps):
        # One more tenant for each death; the later workers meet those that the earlier ones left, too.
        asked.append(await idle.ask_tenant())
        await workers.die_at(point)
    async with workers.at_work():
        for tenant_id, operation in asked:
            row = await idle.ended(operation, LONG_S)
            assert (row.state, row.error) == ("succeeded", None)
            await assert_complete(idle, tenant_id)


async def test_provisioning_that_is_undone_survives_a_kill_at_every_boundary(
    idle: Platform, workers: Workers
):
    asked: list[tuple[Ulid, Ulid]] = []
    for point in at("note_failing", "close_account", "drop_home", "give_up", "finish_operation"):
        asked.append(await idle.ask_tenant(plan_code="gold"))
        await workers.die_at(point)
    async with workers.at_work():
        for tenant_id, operation in asked:
            row = await idle.ended(operation, LONG_S)
            assert row.state == "failed"
            assert row.error is not None
            assert row.error["code"] == "unknown_plan"
            await assert_gone(idle, tenant_id, "gold")


async def test_a_schema_survives_a_kill_at_every_boundary(idle: Platform, workers: Workers):
    async with workers.at_work():
        tenant_id = await idle.tenant()
    asked: list[tuple[Ulid, Ulid]] = []
    points = at("start", "begin_operation", "plan", "apply_step", "publish", "finish_operation")
    for point in (*points, "apply_step:before:2", "apply_step:after:2", "apply_step:after:3"):
        base_id = await idle.base(tenant_id)
        asked.append((base_id, await idle.ask_schema(tenant_id, base_id, STOCK)))
        await workers.die_at(point)
    async with workers.at_work():
        for _, operation in asked:
            row = await idle.ended(operation, LONG_S)
            assert (row.state, row.error) == ("succeeded", None)
            assert row.result is not None
            assert row.result["version"] == 1
    registry = await idle.rows(
        "control", "select state from control.schema_registry where tenant_id = $1", tenant_id
    )
    assert [row["state"] for row in registry] == ["applied"] * len(asked)


async def test_a_schema_that_is_undone_survives_a_kill_in_the_undo(idle: Platform, workers: Workers):
    async with workers.at_work():
        tenants = [await idle.tenant() for _ in range(3)]
    bases = [(tenant_id, await idle.base(tenant_id)) for tenant_id in tenants]
    asked = []
    for nth, base in enumerate(bases):
        asked.append(await idle.ask_schema(*base, STOCK))
        await workers.die_at(f"apply_step:after:{nth + 1}")
        await (await idle.handle(asked[-1])).cancel()
    for point in at("undo_step", "abandon"):
        await workers.die_at(point)
    async with workers.at_work():
        for base, operation in zip(bases, asked, strict=True):
            assert (await idle.ended(operation, LONG_S)).state == "canceled"
            await assert_empty(idle, base)
            again = await idle.ask_schema(*base, STOCK)
            assert (await idle.ended(again, LONG_S)).state == "succeeded"
            await assert_applied(idle, base, 2, STOCK)


async def test_a_worker_that_is_told_to_stop_finishes_what_it_holds(idle: Platform, workers: Workers):
    async with workers.at_work() as process:
        tenants = [await idle.ask_tenant() for _ in range(3)]
        await idle.ended(tenants[0][1])
        os.kill(process.pid, signal.SIGTERM)
        assert await process.wait() == 0
    async with workers.at_work():
        for tenant_id, operation in tenants:
            assert (await idle.ended(operation, LONG_S)).state == "succeeded"
            await assert_complete(idle, tenant_id)
            handle = await idle.handle(operation)
            await handle.result()
            assert (await handle.describe()).status == WorkflowExecutionStatus.COMPLETED
