"""The frame itself: cancel, patience, refusals, and runs that nobody's row asked for."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.operations import OperationActivities
from core.ids import Ulid, new
from db.control import operations
from tests.conftest import Databases
from tests.seeds import until
from tests.workflows.conftest import Platform, tools_of
from tests.workflows.samples import Sample, SampleActivities
from workers.interceptors import ActivityInterceptor
from workflows.registry import attributes_of
from workflows.shared import Start, run_to_end

QUEUE = "sample"


@dataclass
class Samples:
    """Runs of the sample process."""

    platform: Platform
    done: SampleActivities

    async def start(self, **given: bool) -> tuple[Ulid, WorkflowHandle[Sample, object]]:
        operation = await self.platform.enqueue("sample", new(), given)
        start = Start(operation_id=operation, kind="sample", subject_id=operation, input=given)
        handle = await self.platform.client.start_workflow(
            Sample.run, start, id=f"sample/{operation}", task_queue=QUEUE,
            task_timeout=timedelta(seconds=3), search_attributes=attributes_of(start),
        )  # fmt: skip
        return operation, handle


@pytest_asyncio.fixture(scope="module")
async def serving(databases: Databases, client: Client, idle: Platform) -> AsyncIterator[SampleActivities]:
    done = SampleActivities()
    frame = OperationActivities(tools_of(databases, "maintenance").control)
    worker = Worker(
        client, task_queue=QUEUE, workflows=[Sample], interceptors=[ActivityInterceptor(idle.faults)],
        activities=[
            done.sample_quick, done.sample_slow, done.sample_undo,
            frame.begin_operation, frame.note_progress, frame.note_failing, frame.finish_operation,
        ],
        max_heartbeat_throttle_interval=timedelta(seconds=1),
    )  # fmt: skip
    async with worker:
        yield done


@pytest.fixture
def samples(idle: Platform, serving: SampleActivities) -> Samples:
    idle.faults.clear()
    serving.log.clear()
    return Samples(idle, serving)


async def test_a_cancel_ends_a_heartbeating_step_before_its_undo_begins(samples: Samples):
    operation, handle = await samples.start(slow=True)
    await samples.platform.faults.reached("sample_slow", "before")
    await handle.cancel()
    assert (await samples.platform.ended(operation)).state == "canceled"
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    assert samples.done.log == ["quick", "slow ended", "undo began", "undo ended"]


async def test_a_second_cancel_does_not_cut_the_undo_short(samples: Samples):
    operation, handle = await samples.start(slow=True)
    await samples.platform.faults.reached("sample_slow", "before")
    await handle.cancel()
    await samples.platform.faults.reached("sample_undo", "before")
    await handle.cancel()
    assert (await samples.platform.ended(operation)).state == "canceled"
    assert samples.done.log[-1] == "undo ended"


async def test_a_cancel_before_the_first_step_leaves_a_canceled_row(samples: Samples):
    gate = samples.platform.faults.hold("begin_operation", "after")
    operation, handle = await samples.start()
    await samples.platform.faults.reached("begin_operation", "after")
    await handle.cancel()
    gate.set()
    assert (await samples.platform.ended(operation)).state == "canceled"


async def test_a_step_that_takes_too_long_calls_a_person_until_it_works(samples: Samples):
    gate = samples.platform.faults.hold("sample_quick", "before")
    operation, handle = await samples.start()

    async def needs_human() -> bool:
        attributes = (await handle.describe()).typed_search_attributes
        return any(pair.key.name == "NeedsHuman" and pair.value for pair in attributes)

    await until(needs_human)
    assert (await handle.query(Sample.status)).needs_human
    gate.set()
    assert (await samples.platform.ended(operation)).state == "succeeded"
    assert not await needs_human()


async def test_progress_that_cannot_be_noted_does_not_stop_the_run(samples: Samples):
    samples.platform.faults.at("note_progress", "before", ConnectionError("away"), times=4)
    operation, _ = await samples.start()
    assert (await samples.platform.ended(operation)).state == "succeeded"


async def test_the_end_is_tried_until_it_is_written(samples: Samples):
    samples.platform.faults.at("finish_operation", "before", ConnectionError("away"), times=4)
    samples.platform.faults.at("finish_operation", "after", ConnectionError("away"))
    operation, handle = await samples.start()
    assert (await samples.platform.ended(operation)).state == "succeeded"
    await handle.result()


async def test_an_unforeseen_error_is_given_up_after_some_tries_and_told_without_internals(
    samples: Samples, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workers.interceptors._UNKNOWN_ATTEMPTS", 3)
    samples.platform.faults.at("sample_quick", "before", KeyError("a secret"), times=10)
    operation, _ = await samples.start()
    row = await samples.platform.ended(operation)
    assert row.error is not None
    assert row.error["code"] == "internal"
    assert "secret" not in row.error["detail"]
    assert samples.platform.faults.seen.count(("sample_quick", "before")) == 3


async def test_a_run_for_an_operation_that_is_over_does_nothing(samples: Samples):
    operation = await samples.platform.enqueue("sample", new(), {})
    async with samples.platform.control.begin() as session:
        assert await operations.withdraw(session, operation)
    start = Start(operation_id=operation, kind="sample", subject_id=operation)
    handle = await samples.platform.client.start_workflow(
        Sample.run, start, id=f"sample/{operation}", task_queue=QUEUE, search_attributes=attributes_of(start)
    )
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == "operation_over"
    assert samples.done.log == []
    assert (await samples.platform.operation(operation)).state == "canceled"


async def test_a_failure_is_told_rather_than_the_cancel_that_came_meanwhile():
    # Else a run whose operation is over would take its cancel for one between steps, and undo what is not its own.
    gate = asyncio.Event()

    async def over() -> None:
        await gate.wait()
        raise KeyError("over")

    task = asyncio.create_task(run_to_end(over()))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    gate.set()
    with pytest.raises(KeyError):
        await task


async def test_a_scheduled_run_has_a_row_of_its_own(samples: Samples):
    subject = new()
    start = Start(kind="sample", subject_id=subject)
    action = ScheduleActionStartWorkflow(
        Sample.run, start, id=f"sample/{subject}", task_queue=QUEUE,
        typed_search_attributes=attributes_of(start),
    )  # fmt: skip
    handle = await samples.platform.client.create_schedule(
        f"sample-{subject}", Schedule(action=action, spec=ScheduleSpec()), trigger_immediately=True
    )
    try:
        sql = "select id, state, workflow_id, run_id, requested_by from control.operations where subject_id = $1"

        async def over() -> bool:
            return [row["state"] for row in await samples.platform.rows("control", sql, subject)] == [
                "succeeded"
            ]

        await until(over)
        row = (await samples.platform.rows("control", sql, subject))[0]
        assert row["requested_by"] == "schedule"
        found = await samples.platform.client.get_workflow_handle(row["workflow_id"]).describe()
        assert found.run_id == row["run_id"]
        attributes = {pair.key.name: pair.value for pair in found.typed_search_attributes}
        assert attributes["OperationId"] == row["id"]
    finally:
        await handle.delete()


async def test_the_details_table_shows_tries_and_states(samples: Samples):
    samples.platform.faults.at("sample_quick", "before", ConnectionError("the cable"))
    operation, handle = await samples.start()
    await samples.platform.ended(operation)
    await handle.result()
    from temporalio.api.sdk.v1 import WorkflowMetadata

    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    lines = metadata.current_details.splitlines()
    assert lines[0] == "**succeeded** · 100 %"
    row = [cell.strip() for cell in lines[-1].split("|")[1:-1]]
    assert (row[0], row[1], row[4]) == ("quick", "done", "2")


async def test_a_burst_of_runs_all_end(samples: Samples):
    started = await asyncio.gather(*(samples.start() for _ in range(20)))
    for operation, _ in started:
        assert (await samples.platform.ended(operation)).state == "succeeded"
