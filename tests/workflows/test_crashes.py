"""kill -9 of the worker at every step boundary: what was asked for is done, or undone, and never half."""

import os
import signal

from temporalio.client import WorkflowExecutionStatus

from core.ids import Ulid
from tests.workflows.conftest import Platform
from tests.workflows.processes import LONG_S, Workers, workers
from tests.workflows.test_schema_change import STOCK, assert_applied, assert_empty
from tests.workflows.test_tenant_provision import assert_complete, assert_gone

__all__ = ["workers"]


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
