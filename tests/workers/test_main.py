"""The worker process: it waits for what is away, says when it is ready, and ends when it is told to."""

import json
import os
import signal

from temporalio.client import Client

from planebase.ports import free_port
from planebase.temporal import Server
from tests.seeds import until
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
    said = [json.loads(line) for line in workers.log.read_text().splitlines() if line.startswith("{")]
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


async def _said(workers: Workers, words: str) -> bool:
    return workers.log.exists() and words in workers.log.read_text()
