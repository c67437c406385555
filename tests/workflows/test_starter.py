"""What is queued is started once, in order, whatever is away or dies; what ended unheard is told."""

import asyncio

import pytest
from temporalio.client import Client

from core.ids import Ulid, new
from db import engines
from db.control import queue
from planebase.ports import free_port
from tests.conftest import Databases
from tests.seeds import until
from tests.workflows.conftest import Platform, starting, working
from tests.workflows.recording import keep
from tests.workflows.test_tenant_provision import UNDONE, assert_complete, assert_gone
from workers import temporal

FAST = {"poll_s": 0.1, "sweep_s": 0.2}


@pytest.fixture
def calm(idle: Platform) -> Platform:
    idle.faults.clear()
    return idle


async def test_while_temporal_is_away_rows_wait_and_nothing_spins(calm: Platform, databases: Databases):
    _, operation = await calm.ask_tenant()
    nowhere = await temporal.lazy_client(f"127.0.0.1:{free_port()}", "default")
    tries = 0

    async def count(_name: str, _place: str, _arg: object) -> None:
        nonlocal tries
        tries += 1

    async with starting(databases, nowhere, hook=count, **FAST):
        await until(lambda: _at_least(lambda: tries, 2))
        began, before = asyncio.get_running_loop().time(), tries
        await until(lambda: _at_least(lambda: tries, before + 2))
        assert asyncio.get_running_loop().time() - began > 0.5
    assert (await calm.operation(operation)).state == "queued"
    async with working(databases, calm.client, "tenants"), starting(databases, calm.client, **FAST):
        assert (await calm.ended(operation)).state == "succeeded"


async def test_one_starter_works_and_another_takes_over_when_it_is_gone(calm: Platform, databases: Databases):
    async with (
        working(databases, calm.client, "tenants"),
        starting(databases, calm.client, **FAST),
        starting(databases, calm.client, **FAST),
    ):
        await calm.tenant()
        for _ in range(3):
            holders = await calm.rows(
                "control",
                "select a.pid from pg_locks l join pg_stat_activity a on a.pid = l.pid"
                " where l.locktype = 'advisory' and a.usename = 'maintenance_worker' and l.granted",
            )
            assert len(holders) == 1
            await calm.rows("control", "select 1")
            await _as_superuser(databases, "select pg_terminate_backend($1)", holders[0]["pid"])
            await calm.tenant()


async def test_operations_start_in_the_order_in_which_they_were_queued(calm: Platform, databases: Databases):
    subject = new()
    queued = [await calm.enqueue("wallet_refill", subject, {}) for _ in range(3)]
    conn = await engines.connect(databases.secret("maintenance_worker", "control"))
    try:
        claimed = []
        for _ in queued:
            row = await queue.claim(conn, ["wallet_refill"])
            assert row is not None
            claimed.append(row.id)
            # Behind one that is running, the next of its subject waits.
            assert await queue.claim(conn, ["wallet_refill"]) is None
            assert await queue.settle(conn, row.id, "failed", {"code": "test", "detail": "", "errors": []})
        assert claimed == queued
    finally:
        await conn.close()


async def test_a_row_that_may_not_run_yet_holds_up_its_own_subject_only(calm: Platform, databases: Databases):
    first, second, other = new(), new(), new()
    later = await calm.enqueue("wallet_refill", first, {})
    behind = await calm.enqueue("wallet_refill", first, {})
    free = await calm.enqueue("wallet_refill", other, {})
    assert second
    await _as_owner(
        databases, "update control.operations set not_before = now() + interval '1 hour' where id = $1", later
    )
    conn = await engines.connect(databases.secret("maintenance_worker", "control"))
    try:
        row = await queue.claim(conn, ["wallet_refill"])
        assert row is not None
        assert row.id == free
        assert await queue.claim(conn, ["wallet_refill"]) is None
    finally:
        await conn.close()
    for each in (later, behind, free):
        await _as_owner(databases, "update control.operations set state = 'canceled' where id = $1", each)


async def test_a_run_that_still_closes_keeps_the_next_of_its_id_waiting(calm: Platform, databases: Databases):
    async with (
        working(databases, calm.client, "tenants", hook=calm.faults),
        starting(databases, calm.client, **FAST),
    ):
        gate = calm.faults.hold("finish_operation", "after")
        tenant_id, first = await calm.ask_tenant(region="mars-1")
        assert (await calm.ended(first)).state == "failed"
        second = await calm.enqueue("tenant_provision", tenant_id, {"slug": tenant_id}, tenant_id=tenant_id)
        third = await calm.ask_tenant()  # others go on meanwhile
        await calm.running(third[1])
        assert (await calm.operation(second)).run_id is None
        await _as_owner(databases, "update control.tenants set region = 'local' where id = $1", tenant_id)
        gate.set()
        assert (await calm.ended(second)).state == "succeeded"
        await assert_complete(calm, tenant_id)
        assert (await calm.ended(third[1])).state == "succeeded"


async def test_a_run_that_temporal_has_forgotten_is_told(calm: Platform, databases: Databases):
    operation = await calm.enqueue("metering", new(), {})
    await _forget(databases, operation)
    async with starting(databases, calm.client, **FAST):
        row = await calm.ended(operation)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "run_lost")


async def test_a_provisioning_that_temporal_has_forgotten_is_undone(calm: Platform, databases: Databases):
    tenant_id, operation = await calm.ask_tenant()
    await _forget(databases, operation)
    async with working(databases, calm.client, "tenants"), starting(databases, calm.client, **FAST):
        row = await calm.ended(operation)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "run_lost")
    await assert_gone(calm, tenant_id, "Temporal does not know the run any more")


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("step", UNDONE)
async def test_a_terminated_provisioning_is_undone_and_a_second_operation_completes_it(
    calm: Platform, databases: Databases, step: str, place: str
):
    async with (
        working(databases, calm.client, "tenants", hook=calm.faults),
        starting(databases, calm.client, **FAST),
    ):
        gate = calm.faults.hold(step, place)
        tenant_id, first = await calm.ask_tenant(name="Nordic Goods")
        await calm.faults.reached(step, place)
        terminated = await calm.handle(first)
        await terminated.terminate(reason="wrong button")
        row = await calm.ended(first)
        # The terminated run's step comes to its end when everything is undone, and finds that it is not wanted.
        gate.set()
        handle = await calm.closed(first)
        await keep(handle, "tenant_provision.cleared_up")
        assert handle.id == terminated.id
        assert (await handle.describe()).run_id != terminated.run_id
        assert (
            await (await handle.describe()).static_summary()
            == "Clear up: Provision tenant Nordic Goods in local"
        )
        detail = "the run was terminated: wrong button; what it had made was taken back, and it may be asked for again"
        assert (row.state, row.error) == ("failed", {"code": "terminated", "detail": detail, "errors": []})
        await assert_gone(calm, tenant_id, detail)
        second = await calm.enqueue("tenant_provision", tenant_id, {"slug": tenant_id}, tenant_id=tenant_id)
        assert (await calm.ended(second)).state == "succeeded"
        await assert_complete(calm, tenant_id)


async def test_a_provisioning_canceled_before_its_first_step_leaves_no_tenant_that_waits(
    calm: Platform, databases: Databases
):
    async with starting(databases, calm.client, **FAST):
        tenant_id, operation = await calm.ask_tenant()
        # Nobody works yet, so that the run hears of its cancel with its start.
        await (await calm.handle(operation)).cancel()
        async with working(databases, calm.client, "tenants"):
            assert (await calm.ended(operation)).state == "canceled"
            await assert_gone(calm, tenant_id, "canceled")
            await keep(await calm.closed(operation), "tenant_provision.canceled_at_once")
            second = await calm.enqueue(
                "tenant_provision", tenant_id, {"slug": tenant_id}, tenant_id=tenant_id
            )
            assert (await calm.ended(second)).state == "succeeded"
            await assert_complete(calm, tenant_id)


async def test_a_provisioning_terminated_while_it_is_undone_is_undone(calm: Platform, databases: Databases):
    async with (
        working(databases, calm.client, "tenants", hook=calm.faults),
        starting(databases, calm.client, **FAST),
    ):
        gate = calm.faults.hold("drop_home", "before")
        tenant_id, operation = await calm.ask_tenant(plan_code="gold")
        for _ in range(2):  # its own undo, then that of the run which clears up
            await calm.faults.reached("drop_home", "before")
            run = await calm.handle(operation)
            calm.faults.seen.clear()
            await run.terminate(reason="impatience")
        await calm.faults.reached("drop_home", "before")
        gate.set()
        row = await calm.ended(operation)
        assert row.error is not None
        assert (row.state, row.error["code"]) == ("failed", "terminated")
        await assert_gone(calm, tenant_id, "impatience")


async def test_a_provisioning_terminated_after_callers_were_let_in_is_done(
    calm: Platform, databases: Databases
):
    async with (
        working(databases, calm.client, "tenants", hook=calm.faults),
        starting(databases, calm.client, **FAST),
    ):
        gate = calm.faults.hold("activate", "after")
        tenant_id, operation = await calm.ask_tenant()
        await calm.faults.reached("activate", "after")
        await (await calm.handle(operation)).terminate(reason="too late")
        row = await calm.ended(operation)
        gate.set()
        assert (row.state, row.error) == ("succeeded", None)
        assert row.result is not None
        assert row.result["tenant_id"] == tenant_id
        await assert_complete(calm, tenant_id)


async def test_a_starter_that_dies_between_the_mark_and_the_run_leaves_it_to_the_next(
    calm: Platform, databases: Databases
):
    tenant_id, operation = await calm.ask_tenant()
    async with working(databases, calm.client, "tenants", hook=calm.faults):
        gate = calm.faults.hold("open_account", "after")
        async with starting(databases, calm.client, **FAST):
            await calm.faults.reached("open_account", "after")
            run = await calm.handle(operation)
        await run.terminate(reason="wrong button")
        conn = await engines.connect(databases.secret("maintenance_worker", "control"))
        try:
            problem = {"code": "terminated", "detail": "the run was terminated", "errors": []}
            assert await queue.leave(conn, operation, run.run_id or "", problem)
            assert not await queue.leave(conn, operation, run.run_id or "", problem)
        finally:
            await conn.close()
        gate.set()
        async with starting(databases, calm.client, **FAST):
            assert (await calm.ended(operation)).state == "failed"
        await assert_gone(calm, tenant_id, "terminated")


async def test_what_temporal_refuses_to_start_fails_with_the_reason(calm: Platform, databases: Databases):
    operation = await calm.enqueue("wallet_refill", new(), {"note": "x" * 3_000_000})
    async with starting(databases, calm.client, **FAST):
        row = await calm.ended(operation)
    assert row.state == "failed"
    assert row.error is not None
    assert row.error["code"] == "not_startable"


async def test_search_attributes_are_made_once(client: Client):
    await temporal.ensure_search_attributes(client)
    await temporal.ensure_search_attributes(client)


async def _at_least(value: object, least: int) -> bool:
    return value() >= least  # type: ignore[operator]


async def _forget(databases: Databases, operation: Ulid) -> None:
    await _as_owner(
        databases,
        "update control.operations set state = 'running', workflow_id = 'provision/lost',"
        " run_id = '01a20fbd-d0cd-7730-a1de-bb6f0160ba2c' where id = $1",
        operation,
    )


async def _as_owner(databases: Databases, sql: str, *arguments: object) -> None:
    async with databases.own("control") as conn:
        await conn.execute(sql, *arguments)


async def _as_superuser(databases: Databases, sql: str, *arguments: object) -> None:
    import asyncpg

    conn = await asyncpg.connect(databases.cluster.dsn("control"))
    try:
        await conn.execute(sql, *arguments)
    finally:
        await conn.close()
