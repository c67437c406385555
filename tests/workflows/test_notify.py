"""A delivery as an operator reads it: which attempt, what went wrong, when the next is due, and how it ended."""

import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowHandle

from core.ids import Ulid, new
from tests import seeds
from tests.parts import Receiver, receiver, sandbox
from tests.workflows.conftest import Platform, start_of
from tests.workflows.recording import keep
from tests.workflows.test_money import served
from workflows.registry import KINDS, attributes_of
from workflows.shared import Start

__all__ = ["receiver", "sandbox", "served"]

SECRET = "hush-4711"


async def notification(platform: Platform, url: str) -> tuple[Ulid, Ulid]:
    """Make a pending notification to a hook; returns its tenant's id and its own."""
    tenant_id, alert_id, made = new(), new(), new()
    channel_id = await seeds.channel(platform.databases, tenant_id, "webhook", url)
    async with platform.databases.own("alarms") as conn:
        await conn.execute(
            "insert into alarms.alerts (id, tenant_id, kind, severity, dedupe_key, first_seen_at, last_seen_at)"
            " values ($1, $2, 'RUNS_THRESHOLD', 'critical', 'RUNS_THRESHOLD/2026-11', now(), now())",
            alert_id, tenant_id,
        )  # fmt: skip
        await conn.execute(
            'insert into alarms.notifications (id, alert_id, tenant_id, channel_id, channel, "to")'
            " values ($1, $2, $3, $4, 'webhook', $5)",
            made, alert_id, tenant_id, channel_id, url,
        )  # fmt: skip
    return tenant_id, made


async def details(handle: WorkflowHandle[Any, Any]) -> str:
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return str(metadata.current_details)


async def needs_human(handle: WorkflowHandle[Any, Any]) -> bool:
    found = {pair.key.name: pair.value for pair in (await handle.describe()).typed_search_attributes}
    return bool(found["NeedsHuman"])


async def state_of(platform: Platform, made: Ulid) -> tuple[str, list[tuple[int, str]]]:
    (row,) = await platform.rows("alarms", "select status from alarms.notifications where id = $1", made)
    attempts = await platform.rows(
        "alarms",
        "select attempt, outcome from alarms.notification_attempts where notification_id = $1 order by 1",
        made,
    )
    return row["status"], [(each["attempt"], each["outcome"]) for each in attempts]


async def told(platform: Platform, tenant_id: Ulid, made: Ulid) -> tuple[str, int]:
    """Return a notification's error, and how many alerts there are of deliveries that were given up."""
    (row,) = await platform.rows("alarms", "select error from alarms.notifications where id = $1", made)
    alerts = await platform.rows(
        "alarms",
        "select 1 from alarms.alerts where tenant_id = $1 and kind = 'DELIVERY_FAILED' and status = 'open'",
        tenant_id,
    )
    return row["error"], len(alerts)


async def unclaimed(platform: Platform, tenant_id: Ulid, made: Ulid, given: dict[str, Any]) -> Start:
    """Write down an operation that the starter leaves alone; returns what its run is to be given."""
    operation = new()
    async with platform.databases.own("control") as conn:
        # The run itself says that it has begun.
        await conn.execute(
            "insert into control.operations (id, kind, subject_id, tenant_id, input_json, requested_by, not_before)"
            " values ($1, 'notify', $2, $3, $4, 'test', now() + interval '1 day')",
            operation, made, tenant_id, json.dumps(given),
        )  # fmt: skip
    return start_of(await platform.operation(operation))


async def test_a_delivery_between_two_attempts_says_which_why_and_when(
    platform: Platform, receiver: Receiver
) -> None:
    tenant_id, made = await notification(platform, f"{receiver.url}/{SECRET}?token={SECRET}")
    receiver.answers = [(500, {}), (503, {})]
    operation = await platform.enqueue("notify", made, {"delays_s": [0, 0.05, 3600, 1]}, tenant_id=tenant_id)
    handle = await platform.handle(operation)

    async def waits() -> bool:
        return [step["tries"] for step in (await handle.query("status"))["steps"]] == [2]

    await seeds.until(waits)
    (step,) = (await handle.query("status"))["steps"]
    row = await platform.operation(operation)
    assert step["state"] == "running"
    assert step["detail"].startswith("attempt 3 of 4 at 20")
    assert step["detail"].endswith(" UTC; attempt 2 failed: the receiver answered 503")
    shown = [cell.strip() for cell in (await details(handle)).splitlines()[-1].split("|")[1:-1]]
    assert (shown[0], shown[1], shown[4], shown[5]) == ("deliver", "running", "2", step["detail"])
    assert row.step == f"deliver: {step['detail']}"
    assert not await needs_human(handle)
    assert await state_of(platform, made) == ("pending", [(1, "failed"), (2, "failed")])
    # An hour's wait does not keep a cancel waiting.
    await handle.cancel()
    assert (await platform.ended(operation)).state == "canceled"
    await keep(await platform.closed(operation), "notify.canceled")
    assert await state_of(platform, made) == ("dead", [(1, "failed"), (2, "failed")])
    assert await told(platform, tenant_id, made) == ("canceled", 1)
    assert SECRET not in json.dumps(await handle.query("status")) + await details(handle) + str(row)


async def test_a_delivery_that_arrives_in_the_end_says_after_how_many_attempts(
    platform: Platform, receiver: Receiver
) -> None:
    tenant_id, made = await notification(platform, receiver.url)
    receiver.answers = [(500, {}), (503, {})]
    operation = await platform.enqueue("notify", made, {}, tenant_id=tenant_id)
    row = await platform.ended(operation)
    assert row.result == {"notification_id": made, "send_attempts": 3}
    handle = await platform.closed(operation)
    status = await handle.query("status")
    assert [(step["state"], step["tries"]) for step in status["steps"]] == [("done", 3)]
    assert (status["percent"], status["needs_human"]) == (100, False)
    assert {headers["webhook-id"] for headers, _ in receiver.calls} == {made}


async def test_a_delivery_that_is_given_up_is_a_failed_step_and_calls_a_person(
    platform: Platform, receiver: Receiver
) -> None:
    tenant_id, made = await notification(platform, receiver.url)
    receiver.answers = [(500, {})] * 9
    operation = await platform.enqueue("notify", made, {}, tenant_id=tenant_id)
    row = await platform.ended(operation)
    assert (row.state, row.percent) == ("failed", 0)
    assert row.error is not None
    assert row.error["code"] == "delivery_failed"
    handle = await platform.closed(operation)
    status = await handle.query("status")
    words = "not delivered in 3 attempts: the receiver answered 500"
    assert status["steps"] == [{"name": "deliver", "state": "failed", "tries": 3, "detail": words}]
    assert (status["phase"], status["percent"], status["needs_human"]) == ("failed", 0, True)
    assert await needs_human(handle)
    table = (await details(handle)).splitlines()
    assert table[0] == "**failed** · 0 %"
    assert table[2].startswith("**Needs a person**")
    assert await state_of(platform, made) == ("dead", [(1, "failed"), (2, "failed"), (3, "failed")])


async def test_a_delivery_to_a_closed_channel_fails_and_calls_nobody(
    platform: Platform, receiver: Receiver
) -> None:
    tenant_id, made = await notification(platform, receiver.url)
    async with platform.databases.own("alarms") as conn:
        await conn.execute("update alarms.channels set status = 'disabled' where tenant_id = $1", tenant_id)
    operation = await platform.enqueue("notify", made, {}, tenant_id=tenant_id)
    assert (await platform.ended(operation)).state == "failed"
    assert not await needs_human(await platform.closed(operation))


@pytest.mark.parametrize("place", ["before", "after"])
async def test_an_attempt_whose_worker_breaks_is_noted_once(
    platform: Platform, receiver: Receiver, place: str
) -> None:
    tenant_id, made = await notification(platform, receiver.url)
    receiver.answers = [(500, {})]
    platform.faults.at("deliver", place, ConnectionResetError("gone"), times=2)
    operation = await platform.enqueue("notify", made, {}, tenant_id=tenant_id)
    assert (await platform.ended(operation)).state == "succeeded"
    assert await state_of(platform, made) == ("sent", [(1, "failed"), (2, "sent")])
    assert len(receiver.calls) == 2


async def test_a_delivery_with_a_long_history_goes_on_in_another_run(
    platform: Platform, receiver: Receiver
) -> None:
    tenant_id, made = await notification(platform, receiver.url)
    receiver.answers = [(500, {})] * 4
    given = {"delays_s": [0, 0.01, 0.01, 0.01, 0.01]}
    start = (await unclaimed(platform, tenant_id, made, given)).model_copy(update={"longest_history": 20})
    kind = KINDS["notify"]
    handle = await platform.client.start_workflow(
        kind.workflow, start, id=kind.id_of(start), task_queue=kind.queue,
        search_attributes=attributes_of(start),
    )  # fmt: skip
    first = platform.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    assert (await handle.result())["send_attempts"] == 5
    assert (await platform.operation(Ulid(start.operation_id))).state == "succeeded"
    assert (await handle.describe()).run_id != handle.first_execution_run_id
    await keep(first, "notify.continued")
    assert await state_of(platform, made) == ("sent", [(n, "failed") for n in range(1, 5)] + [(5, "sent")])
    assert len(receiver.calls) == 5


async def test_a_delivery_that_is_canceled_before_its_first_attempt_is_given_up(
    platform: Platform, receiver: Receiver
) -> None:
    tenant_id, made = await notification(platform, receiver.url)
    start = await unclaimed(platform, tenant_id, made, {})
    kind = KINDS["notify"]
    handle = await platform.client.start_workflow(
        kind.workflow, start, id=kind.id_of(start), task_queue=kind.queue,
        search_attributes=attributes_of(start), start_delay=timedelta(seconds=0.5),
    )  # fmt: skip
    await handle.cancel()
    assert (await platform.ended(Ulid(start.operation_id))).state == "canceled"
    assert await state_of(platform, made) == ("dead", [])
    assert await told(platform, tenant_id, made) == ("canceled", 1)
    assert receiver.calls == []


async def test_a_delivery_terminated_between_two_attempts_is_given_up_by_another_run(
    platform: Platform, receiver: Receiver
) -> None:
    tenant_id, made = await notification(platform, receiver.url)
    receiver.answers = [(500, {})]
    operation = await platform.enqueue("notify", made, {"delays_s": [0, 3600]}, tenant_id=tenant_id)
    terminated = await platform.handle(operation)

    async def waits() -> bool:
        return await state_of(platform, made) == ("pending", [(1, "failed")])

    await seeds.until(waits)
    await terminated.terminate(reason="wrong button")
    row = await platform.ended(operation)
    detail = "the run was terminated: wrong button; the notification is not tried again"
    assert (row.state, row.error) == ("failed", {"code": "terminated", "detail": detail, "errors": []})
    handle = await platform.closed(operation)
    await keep(handle, "notify.cleared_up")
    described = await handle.describe()
    assert (handle.id, described.run_id != terminated.run_id) == (terminated.id, True)
    assert await described.static_summary() == f"Clear up: Deliver notification {made}"
    status = await handle.query("status")
    assert [(step["name"], step["state"]) for step in status["steps"]] == [
        ("deliver", "failed"),
        ("undo deliver", "done"),
    ]
    assert not await needs_human(handle)
    assert await state_of(platform, made) == ("dead", [(1, "failed")])
    assert await told(platform, tenant_id, made) == ("terminated", 1)
    assert len(receiver.calls) == 1


async def test_a_delivery_terminated_after_it_was_sent_is_done(
    platform: Platform, receiver: Receiver
) -> None:
    tenant_id, made = await notification(platform, receiver.url)
    gate = platform.faults.hold("finish_operation", "before")
    operation = await platform.enqueue("notify", made, {}, tenant_id=tenant_id)
    await platform.faults.reached("finish_operation", "before")
    terminated = await platform.handle(operation)
    await terminated.terminate(reason="too late")

    async def taken_over() -> bool:
        return (await platform.running(operation)).run_id != terminated.run_id

    await seeds.until(taken_over)
    gate.set()
    row = await platform.ended(operation)
    assert (row.state, row.error) == ("succeeded", None)
    assert row.result == {"notification_id": made, "send_attempts": 1}
    assert await state_of(platform, made) == ("sent", [(1, "sent")])
    assert len(receiver.calls) == 1
