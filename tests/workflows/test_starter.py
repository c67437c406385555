"""What is queued is started once, in order, whatever is away or dies; what ended unheard is told."""

import asyncio

import pytest
from temporalio.client import Client

from core.ids import new
from db import engines
from db.control import queue
from planebase.ports import free_port
from tests.conftest import Databases
from tests.seeds import until
from tests.workflows.conftest import Platform, starting, working
from tests.workflows.test_tenant_provision import assert_complete
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
    operation = await calm.enqueue("tenant_provision", new(), {})
    await _as_owner(
        databases,
        "update control.operations set state = 'running', workflow_id = 'provision/lost',"
        " run_id = '01a20fbd-d0cd-7730-a1de-bb6f0160ba2c' where id = $1",
        operation,
    )
    async with starting(databases, calm.client, **FAST):
        row = await calm.ended(operation)
    assert row.error is not None
    assert row.error["code"] == "run_lost"


async def test_a_terminated_provisioning_is_told_and_a_second_operation_completes_it(
    calm: Platform, databases: Databases
):
    async with (
        working(databases, calm.client, "tenants", hook=calm.faults),
        starting(databases, calm.client, **FAST),
    ):
        gate = calm.faults.hold("open_account", "before")
        tenant_id, first = await calm.ask_tenant()
        await calm.faults.reached("open_account", "before")
        await (await calm.handle(first)).terminate(reason="wrong button")
        row = await calm.ended(first)
        assert row.error == {
            "code": "terminated",
            "detail": "the run was terminated: wrong button",
            "errors": [],
        }
        gate.set()
        second = await calm.enqueue("tenant_provision", tenant_id, {"slug": tenant_id}, tenant_id=tenant_id)
        assert (await calm.ended(second)).state == "succeeded"
        await assert_complete(calm, tenant_id)


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
