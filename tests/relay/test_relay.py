"""The relay as a process runs it: from every cluster, through lost connections, and the outbox beside it."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest_asyncio

from core.ids import new
from core.settings import QueueSettings
from db import engines
from db.sessions import ActivitySession, AuditSession, ControlSession, sessions
from tests import seeds
from tests.conftest import Databases
from workers import relay
from workers.relay import OutboxRelay

ROLE = "maintenance_worker"


@pytest_asyncio.fixture
async def outbox(databases: Databases) -> AsyncIterator[OutboxRelay]:
    async with databases.own("control") as conn:
        await conn.execute("delete from control.outbox")  # what others have left
    pools = [engines.engine(databases.secret(ROLE, name)) for name in ("control", "activity", "audit")]
    yield OutboxRelay(
        sessions(pools[0], ControlSession),
        sessions(pools[1], ActivitySession),
        sessions(pools[2], AuditSession),
        max_rows=4,
    )
    for pool in pools:
        await pool.dispose()


async def send(databases: Databases, destination: str, payload: dict[str, Any]) -> str:
    made = new()
    async with databases.own("control") as conn:
        await conn.execute(
            "insert into control.outbox (id, destination, payload) values ($1, $2, $3)",
            made, destination, json.dumps({"id": made, **payload}),
        )  # fmt: skip
    return made


def wallet_event(tenant_id: str, **changed: str) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id, "resource_type": "wallet", "resource_id": tenant_id, "action": "WALLET_TOPUP",
        "diff_json": {"amount_cents": 500}, **changed,
    }  # fmt: skip


async def waiting(databases: Databases) -> set[str]:
    return {row["id"] for row in await seeds.rows(databases, "control", "select id from control.outbox")}


async def arrived(databases: Databases, tenant_id: str) -> list[str]:
    found = await seeds.rows(
        databases,
        "activity",
        "select id from activity.resource_events where tenant_id = $1 order by id",
        tenant_id,
    )
    return [row["id"] for row in found]


async def test_each_row_arrives_once_and_is_forgotten(databases: Databases, outbox: OutboxRelay) -> None:
    tenant_id = new()
    sent = [await send(databases, "activity", wallet_event(tenant_id)) for _ in range(10)]
    admin = await send(databases, "audit", {"action": "WALLET_ADJUST", "tenant_id": tenant_id})
    assert await outbox.carry_all()
    assert await arrived(databases, tenant_id) == sorted(sent)
    audit = await seeds.rows(databases, "audit", "select * from audit.admin_events where id = $1", admin)
    assert [row["action"] for row in audit] == ["WALLET_ADJUST"]
    assert not await waiting(databases)
    assert not await outbox.carry_all()


async def test_a_row_delivered_but_not_forgotten_changes_nothing(
    databases: Databases, outbox: OutboxRelay
) -> None:
    tenant_id = new()
    payload = wallet_event(tenant_id, occurred_at=datetime.now(UTC).isoformat())
    sent = await send(databases, "activity", payload)
    await outbox.carry_all()
    async with databases.own("control") as conn:
        await conn.execute(
            "insert into control.outbox (id, destination, payload) values ($1, 'activity', $2)",
            sent, json.dumps({"id": sent, **payload}),
        )  # fmt: skip
    await outbox.carry_all()
    assert await arrived(databases, tenant_id) == [sent]


async def test_a_row_that_is_refused_holds_up_nobody_and_is_kept(
    databases: Databases, outbox: OutboxRelay
) -> None:
    tenant_id = new()
    good = [await send(databases, "activity", wallet_event(tenant_id)) for _ in range(3)]
    bad = await send(databases, "activity", wallet_event(tenant_id, action="not an action"))
    good += [await send(databases, "activity", wallet_event(tenant_id)) for _ in range(3)]
    for _ in range(2):
        await outbox.carry_all()
        assert await arrived(databases, tenant_id) == sorted(good)
        assert await waiting(databases) == {bad}
    async with databases.own("control") as conn:
        await conn.execute("delete from control.outbox where id = $1", bad)


async def test_lost_connections_are_made_again_and_nothing_is_lost(databases: Databases) -> None:
    tenant = await seeds.tenant(databases, with_table=True)
    queue = QueueSettings(
        control_dsn=databases.secret(ROLE, "control"),
        activity_dsn=databases.secret(ROLE, "activity"),
        audit_dsn=databases.secret(ROLE, "audit"),
        data_user=ROLE,
        data_password=databases.passwords[ROLE],
    )  # type: ignore[arg-type]
    stop = asyncio.Event()
    running = asyncio.create_task(relay.run(queue, stop))
    written, sent = 0, []
    try:
        root = await asyncpg.connect(databases.cluster.dsn())
        async with databases.own("data") as conn:
            for turn in range(20):
                await conn.execute(
                    f'insert into {tenant.table} (id, "f_{tenant.field_id}") values ($1, $2)',
                    str(new()),
                    str(turn),
                )
                written += 1
                sent.append(await send(databases, "activity", wallet_event(tenant.id)))
                if turn % 5 == 0:
                    await root.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", ROLE
                    )
                await asyncio.sleep(0.05)
        await root.close()

        async def all_there() -> bool:
            return len(await arrived(databases, tenant.id)) >= written + len(sent)

        await seeds.until(all_there)
    finally:
        stop.set()
        await asyncio.wait_for(running, 10)
    found = await arrived(databases, tenant.id)
    assert len(found) == written + len(sent)
    assert set(sent) <= set(found)
    used = await seeds.rows(
        databases,
        "control",
        "select sum(quantity)::int as n from control.usage_events where tenant_id = $1",
        tenant.id,
    )
    assert used == [{"n": written}]
