"""Upkeep: partitions stand ahead of time, keys are forgotten after a day, and a second run finds nothing to do."""

from datetime import UTC, datetime

import pytest

from activities.shared import Subject
from core import retention
from core.ids import new
from tests import seeds
from tests.activities.conftest import Money, run
from tests.conftest import Databases

SUBJECT = Subject(operation_id=new())


async def partitions(databases: Databases, database: str) -> set[str]:
    found = await seeds.rows(
        databases, database,
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where c.relkind = 'r' order by 1",
    )  # fmt: skip
    return {row["relname"] for row in found}


async def test_every_log_has_its_coming_months(databases: Databases, money: Money) -> None:
    async with databases.own("activity") as conn:
        last = retention.partitions_needed(datetime.now(UTC)).names()[-1].replace("-", "m")
        await conn.execute(f"drop table if exists activity.resource_events_y{last}")
    first = await run(money.partitions.ensure_log_partitions, SUBJECT)
    assert first.made > 0
    await run(money.partitions.ensure_change_partitions, SUBJECT)
    for database, tables in {
        "activity": ("resource_events", "api_access_logs"),
        "audit": ("admin_events", "security_events"),
        "data": ("changes",),
    }.items():
        there = await partitions(databases, database)
        for name in retention.partitions_needed(datetime.now(UTC)).names():
            assert {f"{table}_y{name.replace('-', 'm')}" for table in tables} <= there
    assert (await run(money.partitions.ensure_log_partitions, SUBJECT)).made == 0
    assert (await run(money.partitions.ensure_change_partitions, SUBJECT)).made == 0


async def test_keys_are_forgotten_after_a_day_and_not_before(
    databases: Databases, money: Money, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.partitions.BATCH", 10)
    tenant_id, caller = new(), f"test {new()}"
    async with databases.own("data") as conn:
        await conn.execute(
            "insert into platform.idempotency (tenant_id, token_id, key, request_hash, operation_id, status, answer,"
            " created_at) select $1, $1, i::text, 'h', $1, 200, '[]', now() - make_interval(hours => i)"
            " from generate_series(1, 60) i",
            tenant_id,
        )
    async with databases.own("control") as conn:
        await conn.execute(
            "insert into control.idempotency (caller, key, request_hash, status, operation_id, created_at)"
            " select $1, i::text, 'h', 200, $2, now() - make_interval(hours => i) from generate_series(1, 60) i",
            caller, new(),
        )  # fmt: skip
    expired = await run(money.partitions.expire_idempotency, SUBJECT)
    assert expired.rows >= 2 * 37
    left = await seeds.rows(
        databases,
        "data",
        "select count(*)::int as n from platform.idempotency where tenant_id = $1",
        tenant_id,
    )
    left += await seeds.rows(
        databases, "control", "select count(*)::int as n from control.idempotency where caller = $1", caller
    )
    assert left == [{"n": 23}, {"n": 23}]
    assert (await run(money.partitions.expire_idempotency, SUBJECT)).rows == 0
