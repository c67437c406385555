"""The frame under test: real workers and a real starter in this process, with faults where a test wants them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.client import Client, WorkflowHandle

from core.ids import Ulid, new
from db import engines
from db.control import operations
from db.control.operations import Operation
from db.router import Clusters
from db.sessions import ControlSession, sessions
from planebase.temporal import Server
from tests.conftest import REGION, Databases, own_databases
from tests.seeds import rows, until
from workers import temporal
from workers.registry import Services, Tools, activities_of, queue_worker
from workers.starter import Starter
from workflows.registry import KINDS
from workflows.shared import Start

ENDED = ("succeeded", "failed", "canceled")


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Databases of our own: a starter would start whatever other tests have left in the queue."""
    yield from own_databases(tmp_path_factory)


@dataclass
class Faults:
    """What breaks: raised in the worker's interceptor, before or after an activity's effect."""

    planned: dict[tuple[str, str], list[BaseException | None]] = field(default_factory=dict)
    gates: dict[tuple[str, str], asyncio.Event] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def at(self, activity: str, place: str, error: BaseException, times: int = 1, after: int = 0) -> None:
        """Raise `error` `times` times when `activity` gets to `place`, after it was let pass `after` times."""
        self.planned.setdefault((activity, place), []).extend([None] * after + [error] * times)

    def hold(self, activity: str, place: str) -> asyncio.Event:
        """Keep `activity` at `place` until the event that is returned is set."""
        return self.gates.setdefault((activity, place), asyncio.Event())

    async def reached(self, activity: str, place: str) -> None:
        """Return when `activity` has come to `place`."""

        async def there() -> bool:
            return (activity, place) in self.seen

        await until(there)

    def clear(self) -> None:
        """Break nothing, hold nothing."""
        for gate in self.gates.values():
            gate.set()
        self.planned, self.gates, self.seen = {}, {}, []

    async def __call__(self, activity: str, place: str, _arg: Any) -> None:
        self.seen.append((activity, place))
        if (gate := self.gates.get((activity, place))) is not None:
            await gate.wait()
        planned = self.planned.get((activity, place))
        if planned and (error := planned.pop(0)) is not None:
            raise error


@dataclass
class Platform:
    """What a test does with the platform, and what it may look at."""

    databases: Databases
    client: Client
    faults: Faults
    control: Any

    async def enqueue(self, kind: str, subject: Ulid, given: dict[str, Any], **ids: Ulid | None) -> Ulid:
        """Queue an operation as the Control API would."""
        operation = new()
        async with self.control.begin() as session:
            await operations.enqueue(
                session,
                id=operation,
                kind=kind,
                subject_id=subject,
                tenant_id=ids.get("tenant_id"),
                base_id=ids.get("base_id"),
                input=given,
                requested_by="test",
                cancelable=True,
            )
        return operation

    async def ask_tenant(self, **given: Any) -> tuple[Ulid, Ulid]:
        """Ask for a tenant as `POST /tenants` does, and return its id and the operation's."""
        tenant_id = new()
        given = {"slug": tenant_id, "name": "Acme", "region": REGION, **given}
        async with self.databases.connect("control_api", "control") as conn:
            await conn.execute(
                "insert into control.tenants (id, slug, name, region, status)"
                " values ($1, $2, $3, $4, 'provisioning')",
                tenant_id, given["slug"], given["name"], given["region"],
            )  # fmt: skip
        return tenant_id, await self.enqueue("tenant_provision", tenant_id, given, tenant_id=tenant_id)

    async def tenant(self, **given: Any) -> Ulid:
        """Return a tenant that is ready."""
        tenant_id, operation = await self.ask_tenant(**given)
        assert (await self.ended(operation)).state == "succeeded"
        return tenant_id

    async def base(self, tenant_id: Ulid) -> Ulid:
        """Make an empty base in the tenant's first workspace."""
        base_id = new()
        async with self.databases.connect("control_api", "control") as conn:
            await conn.execute(
                "insert into control.bases (id, tenant_id, workspace_id, name)"
                " select $1, tenant_id, id, 'Stock' from control.workspaces where tenant_id = $2",
                base_id, tenant_id,
            )  # fmt: skip
        return base_id

    async def ask_schema(self, tenant_id: Ulid, base_id: Ulid, spec: dict[str, Any], **given: Any) -> Ulid:
        """Ask for a schema as `PUT /bases/{id}/schema` does, and return the operation's id."""
        return await self.enqueue(
            "schema_apply",
            base_id,
            {"spec": spec, "confirm": [], **given},
            tenant_id=tenant_id,
            base_id=base_id,
        )

    async def operation(self, operation_id: Ulid) -> Operation:
        """Return an operation's row."""
        async with self.control() as session:
            found = await operations.get(session, operation_id)
        assert found is not None
        return found

    async def ended(self, operation_id: Ulid, timeout_s: float = 30) -> Operation:
        """Return an operation's row when it is over."""

        async def over() -> bool:
            return (await self.operation(operation_id)).state in ENDED

        await until(over, timeout_s)
        return await self.operation(operation_id)

    async def running(self, operation_id: Ulid) -> Operation:
        """Return an operation's row when it has a run."""

        async def has_run() -> bool:
            return (await self.operation(operation_id)).run_id is not None

        await until(has_run)
        return await self.operation(operation_id)

    async def handle(self, operation_id: Ulid) -> WorkflowHandle[Any, Any]:
        """Return the handle of an operation's run."""
        row = await self.running(operation_id)
        return self.client.get_workflow_handle(row.workflow_id or "", run_id=row.run_id)

    async def closed(self, operation_id: Ulid) -> WorkflowHandle[Any, Any]:
        """Return the handle of an operation's run when the run has ended, too, and not only its row."""
        handle = await self.handle(operation_id)

        async def over() -> bool:
            return (await handle.describe()).close_time is not None

        await until(over)
        return handle

    async def rows(self, database: str, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """Return rows as the owner sees them."""
        return await rows(self.databases, database, sql, *arguments)


def tools_of(databases: Databases, queue: str) -> Tools:
    """Return what a queue's activities are built from, with the queue's own role."""
    role = f"{queue}_worker"
    control = sessions(engines.engine(databases.secret(role, "control"), pool_size=8), ControlSession)
    data = Clusters(control, role, SecretStr(databases.passwords[role]), pool_size=8)
    return Tools(queue=queue, control=control, services=Services(), data=data)


@asynccontextmanager
async def working(
    databases: Databases, client: Client, *queues: str, hook: Any = None
) -> AsyncIterator[None]:
    """Serve queues in this process."""
    async with AsyncExitStack() as stack:
        for queue in queues:
            activities = activities_of(tools_of(databases, queue))
            worker = queue_worker(client, queue, activities, slots=8, drain_s=1, hook=hook)
            await stack.enter_async_context(worker)
        yield


@asynccontextmanager
async def starting(databases: Databases, client: Client, **pace: float) -> AsyncIterator[Starter]:
    """Start what is queued, in this process."""
    starter = Starter(databases.secret("maintenance_worker", "control"), client, **pace)
    stop = asyncio.Event()
    task = asyncio.create_task(starter.run(stop))
    try:
        yield starter
    finally:
        stop.set()
        await task


@pytest_asyncio.fixture(scope="session")
async def client(temporal_server: Server) -> Client:
    """A client like the workers'."""
    made = await temporal.connected_client(temporal_server.address, "default", asyncio.Event())
    assert made is not None
    return made


@pytest_asyncio.fixture(scope="session")
async def idle(databases: Databases, client: Client) -> Platform:
    """The platform without workers and starter: a test brings its own."""
    control = sessions(engines.engine(databases.secret("control_api", "control")), ControlSession)
    return Platform(databases, client, Faults(), control)


@pytest_asyncio.fixture(scope="module")
async def served(databases: Databases, client: Client, idle: Platform) -> AsyncIterator[Platform]:
    """The platform with workers and a starter for the tests of one file."""
    async with (
        working(databases, client, "tenants", "schema", hook=idle.faults),
        starting(databases, client, sweep_s=0.5),
    ):
        yield idle


@pytest.fixture
def platform(served: Platform) -> AsyncIterator[Platform]:
    """The platform at work, with nothing broken before and after."""
    served.faults.clear()
    yield served
    served.faults.clear()


def start_of(row: Operation) -> Start:
    """Return the input that the starter gives the run of an operation."""
    return Start(
        operation_id=row.id,
        kind=row.kind,
        subject_id=row.subject_id,
        tenant_id=row.tenant_id,
        base_id=row.base_id,
        input={} if KINDS[row.kind].private else json.loads(json.dumps(row.input)),
    )
