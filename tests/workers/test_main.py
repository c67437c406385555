"""The worker process: it waits for what is away, says when it is ready, and ends when it is told to."""

import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client

from planebase.ports import free_port
from planebase.temporal import Server
from tests.conftest import Databases
from tests.seeds import rows, until
from tests.workflows.conftest import client
from tests.workflows.processes import Workers, workers
from workers import schedules
from workers.registry import QUEUES, WORKFLOWS
from workflows.registry import KINDS

__all__ = ["client", "workers"]


async def test_it_serves_every_queue_and_ends_cleanly(workers: Workers, client: Client):
    process = await workers.start(queues=",".join(QUEUES))
    assert process.ready.exists()
    os.kill(process.pid, signal.SIGTERM)
    assert await process.wait() == 0
    said = _log(workers)
    ready = next(line for line in said if line["event"] == "worker ready")
    assert ready["queues"] == list(QUEUES)
    assert not [line for line in said if line["level"] == "error"]


async def test_it_waits_for_a_temporal_that_is_away(workers: Workers):
    process = await workers.launch(
        ["--queues", "tenants"], PLANEBASE_TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}"
    )
    await until(lambda: _said(workers, "waiting for temporal"))
    assert not process.ready.exists()
    assert not process.ended.is_set()
    os.kill(process.pid, signal.SIGTERM)
    assert await process.wait() == 0


async def test_it_refuses_a_queue_that_there_is_not(workers: Workers):
    process = await workers.launch(["--queues", "tenant"])
    assert await process.wait() not in (0, None)
    assert "not tenant; there are schema, tenants" in workers.log.read_text()


def test_each_kind_of_operation_has_its_workflow_on_its_queue():
    served = {queue: {w.__name__ for w in code.workflows} for queue, code in QUEUES.items()}
    for kind in KINDS.values():
        assert kind.workflow in served[kind.queue]
    assert {workflow.__name__ for workflow in WORKFLOWS} == {kind.workflow for kind in KINDS.values()}


async def test_schedules_are_made_once_and_brought_up_to_date(client: Client, temporal_server: Server):
    await schedules.ensure(client, schedules.wanted(metering_interval_s=86_400))
    handle = client.get_schedule_handle("metering")
    await handle.pause(note="an operator")
    await schedules.ensure(client, schedules.wanted(metering_interval_s=43_200))
    found = await handle.describe()
    assert found.schedule.spec.intervals[0].every.total_seconds() == 43_200
    assert found.schedule.state.paused
    for name in ("metering", "partitions"):
        await client.get_schedule_handle(name).delete()


async def test_months_that_are_missing_are_made_when_a_worker_starts(
    workers: Workers, client: Client, databases: Databases
):
    missing = await _lose_partitions(databases)
    async with _upkeep(workers):
        await until(lambda: _all_there(databases, missing))
        await until(lambda: _upkeep_is_over(databases))
    # Now the Schedule is there already.
    missing = await _lose_partitions(databases)
    async with _upkeep(workers):
        await until(lambda: _all_there(databases, missing))
        await until(lambda: _upkeep_is_over(databases))
    await client.get_schedule_handle("partitions").delete()


async def test_two_workers_that_start_at_once_make_them_once(
    workers: Workers, client: Client, databases: Databases
):
    missing = await _lose_partitions(databases)
    before = _ensured(workers)

    async def both_have_asked() -> bool:
        return _ensured(workers) == before + 2

    async with _upkeep(workers), _upkeep(workers):
        await until(both_have_asked)
        await until(lambda: _all_there(databases, missing))
        await until(lambda: _upkeep_is_over(databases))
        made = [each.id async for each in await client.list_schedules() if each.id == "partitions"]
        assert made == ["partitions"]
    failed = await rows(
        databases,
        "control",
        "select error_json from control.operations where kind = 'partitions' and state in ('failed', 'canceled')",
    )
    assert failed == []
    assert not [line for line in _log(workers) if line["level"] == "error"]
    await client.get_schedule_handle("partitions").delete()


@asynccontextmanager
async def _upkeep(workers: Workers) -> AsyncIterator[None]:
    """A worker that was told to start, and is told to stop at the end."""
    process = await workers.launch(["--queues", "maintenance"])

    async def is_ready() -> bool:
        return process.ready.exists()

    try:
        yield
        await until(is_ready)
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert await process.wait() == 0


async def _lose_partitions(databases: Databases) -> dict[str, set[str]]:
    """Drop the newest month of each log, and return what then is missing in each database."""
    lost = {}
    for database, schema in (("activity", "activity"), ("audit", "audit"), ("data", "platform")):
        newest = await rows(
            databases, database,
            "select max(inhrelid::regclass::text) as name from pg_inherits i join pg_class c on c.oid = i.inhparent"
            " where c.relkind = 'p' and c.relnamespace = $1::regnamespace group by inhparent", schema,
        )  # fmt: skip
        lost[database] = {str(each["name"]) for each in newest}
        assert lost[database]
        async with databases.own(database) as conn:
            for name in lost[database]:
                await conn.execute(f"drop table {name}")
    # A Schedule starts one run in a second: what is triggered next must not be taken for what ran before.
    last = int(time.time())

    async def is_another_second() -> bool:
        return int(time.time()) > last

    await until(is_another_second)
    return lost


async def _all_there(databases: Databases, wanted: dict[str, set[str]]) -> bool:
    for database, names in wanted.items():
        missing = await rows(
            databases, database, "select 1 from unnest($1::text[]) name where to_regclass(name) is null",
            list(names),
        )  # fmt: skip
        if missing:
            return False
    return True


async def _upkeep_is_over(databases: Databases) -> bool:
    under_way = await rows(
        databases,
        "control",
        "select 1 from control.operations where kind = 'partitions' and state in ('queued', 'running')",
    )
    return not under_way


def _ensured(workers: Workers) -> int:
    return sum(
        (line["event"], line.get("kind")) == ("schedule ensured", "partitions") for line in _log(workers)
    )


def _log(workers: Workers) -> list[dict[str, Any]]:
    if not workers.log.exists():
        return []
    whole, _, _ = workers.log.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


async def _said(workers: Workers, words: str) -> bool:
    return workers.log.exists() and words in workers.log.read_text()
