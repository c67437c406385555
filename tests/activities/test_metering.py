"""A metering cycle's steps: each run twice leaves the same world, and the money is exact."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from activities.alert import Detect
from activities.metering import Cycle
from activities.wallet import Bill
from core.ids import new
from db.control import metering
from tests import seeds
from tests.activities.conftest import Money, run
from tests.conftest import Databases

NOW = datetime.now(UTC)
MONTH = NOW.date().replace(day=1)


def cycle(period: datetime = NOW, months: tuple[date, ...] = ()) -> Cycle:
    return Cycle(operation_id=new(), period=period, months=list(months))


async def whole(money: Money, period: datetime = NOW) -> None:
    """Run the steps in the order of the workflow."""
    one = cycle(period)
    counted = await run(money.metering.count_usage, one)
    await run(money.metering.measure_sizes, one)
    await run(money.wallet.debit_usage, Bill(operation_id=one.operation_id, period=period))
    one = one.model_copy(update={"months": counted.months})
    await run(money.metering.capture_snapshots, one)
    await run(money.alerts.detect_alerts, Detect(operation_id=one.operation_id, period=period))
    await run(money.metering.request_work, one)


async def counters(databases: Databases, tenant: seeds.Tenant) -> list[dict[str, Any]]:
    return await seeds.rows(
        databases, "control",
        "select month, runs_used, api_calls, records_count, runs_billed from control.usage_counters"
        " where tenant_id = $1 order by month", tenant.id,
    )  # fmt: skip


async def debits(databases: Databases, tenant: seeds.Tenant) -> list[dict[str, Any]]:
    return await seeds.rows(
        databases, "control",
        "select amount_cents, runs_delta, ref from control.wallet_ledger where wallet_id = $1 and type = 'debit'"
        " order by seq", tenant.wallet_id,
    )  # fmt: skip


async def world(databases: Databases, tenant: seeds.Tenant) -> dict[str, Any]:
    """Return all that a cycle writes of a tenant, but for the times of writing."""
    alarms = {
        "snapshots": "select id, metric, value, limit_value from alarms.quota_snapshots where tenant_id = $1",
        "alerts": "select id, kind, severity, status, times_seen, last_seen_at from alarms.alerts where tenant_id = $1",
        "notifications": 'select id, channel, "to", status, generation from alarms.notifications where tenant_id = $1',
    }
    control = {
        "operations": "select id, kind, subject_id, state from control.operations where tenant_id = $1 order by id",
        "wallet": "select balance_cents, ledger_seq from control.wallets where tenant_id = $1",
    }
    found: dict[str, Any] = {"counters": await counters(databases, tenant)}
    for name, sql in alarms.items():
        found[name] = await seeds.rows(databases, "alarms", sql + " order by id", tenant.id)
    for name, sql in control.items():
        found[name] = await seeds.rows(databases, "control", sql, tenant.id)
    return found


async def test_a_cycle_run_twice_leaves_the_same_world(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(
        databases, balance_cents=30, threshold_cents=100, refill_cents=500, auto_refill=True, with_table=True
    )
    await seeds.channel(databases, tenant.id, "webhook", "https://hooks.example.com/a")
    async with databases.own("data") as conn:
        await conn.execute(
            f'insert into {tenant.table} (id, "f_{tenant.field_id}")'
            " select i::text, i::text from generate_series(1, 7) i"
        )
    await seeds.use(databases, tenant.id, 1600)
    await whole(money)
    first = await world(databases, tenant)
    assert first["counters"] == [
        {"month": MONTH, "runs_used": 1600, "api_calls": 0, "records_count": 7, "runs_billed": 1600}
    ]
    assert len(first["snapshots"]) == 4
    assert {(row["kind"], row["severity"]) for row in first["alerts"]} == {
        ("RUNS_THRESHOLD", "critical"), ("WALLET_LOW_BALANCE", "warning"),
    }  # fmt: skip
    assert sorted((row["channel"], row["status"]) for row in first["notifications"]) == [
        ("inapp", "sent"), ("inapp", "sent"), ("webhook", "pending"), ("webhook", "pending"),
    ]  # fmt: skip
    assert sorted(row["kind"] for row in first["operations"]) == ["notify", "notify", "wallet_refill"]
    assert first["wallet"] == [{"balance_cents": 30 - 24, "ledger_seq": 2}]
    await whole(money)
    assert await world(databases, tenant) == first


async def test_runs_are_debited_over_the_plan_only_and_by_their_whole_sum(
    databases: Databases, money: Money
) -> None:
    tenant = await seeds.tenant(databases, balance_cents=10_000)
    taken = 0
    for runs, sum_cents in ((999, 0), (1, 0), (24, 0), (1, 1), (10, 1), (1000, 41)):
        await seeds.use(databases, tenant.id, runs)
        await whole(money)
        taken = -sum(row["amount_cents"] for row in await debits(databases, tenant))
        assert taken == sum_cents
    rows = await debits(databases, tenant)
    assert [row["ref"] for row in rows] == [f"usage/{MONTH:%Y-%m}/1025", f"usage/{MONTH:%Y-%m}/2035"]
    assert sum(row["runs_delta"] for row in rows) == -1035


async def test_what_the_wallet_cannot_pay_stays_due_and_is_said(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(databases, balance_cents=15)
    await seeds.use(databases, tenant.id, 2000)  # 40 cents
    await whole(money)
    found = await world(databases, tenant)
    assert found["wallet"] == [{"balance_cents": 0, "ledger_seq": 2}]
    low = [row for row in found["alerts"] if row["kind"] == "WALLET_LOW_BALANCE"]
    assert [(row["severity"], row["status"]) for row in low] == [("critical", "open")]
    async with databases.own("control") as conn:
        await conn.execute(
            "insert into control.wallet_ledger (id, wallet_id, type, amount_cents, ref, seq, balance_after_cents)"
            " values ($1, $2, 'topup', 1000, 'more', 0, 0)",
            new(), tenant.wallet_id,
        )  # fmt: skip
    await whole(money, NOW + timedelta(minutes=1))
    found = await world(databases, tenant)
    assert found["wallet"][0]["balance_cents"] == 1000 - 25
    assert -sum(row["amount_cents"] for row in await debits(databases, tenant)) == 40
    low = [row for row in found["alerts"] if row["kind"] == "WALLET_LOW_BALANCE"]
    assert [row["status"] for row in low] == ["resolved"]


async def test_a_month_that_is_over_is_counted_and_billed_when_its_events_come_late(
    databases: Databases, money: Money
) -> None:
    tenant = await seeds.tenant(databases, balance_cents=1000)
    last_month = (MONTH - timedelta(days=1)).replace(day=1)
    await seeds.use(databases, tenant.id, 1500, datetime(last_month.year, last_month.month, 3, tzinfo=UTC))
    await seeds.use(databases, tenant.id, 1100)
    await seeds.use(databases, tenant.id, 77, meter="api_calls")
    await whole(money)
    assert [(row["month"], row["runs_used"], row["api_calls"]) for row in await counters(databases, tenant)] == [
        (last_month, 1500, 0), (MONTH, 1100, 77),
    ]  # fmt: skip
    assert {row["ref"].split("/")[1] for row in await debits(databases, tenant)} == {
        f"{last_month:%Y-%m}", f"{MONTH:%Y-%m}",
    }  # fmt: skip
    windows = await seeds.rows(
        databases, "alarms",
        'select distinct "window" from alarms.quota_snapshots where tenant_id = $1 order by 1', tenant.id,
    )  # fmt: skip
    assert [row["window"] for row in windows] == [f"{last_month:%Y-%m}", f"{MONTH:%Y-%m}"]
    # Of a month that is over, nobody is alarmed any more.
    found = await world(databases, tenant)
    assert [row["kind"] for row in found["alerts"]] == ["RUNS_THRESHOLD"]


async def test_an_event_under_way_is_counted_by_the_next_cycle(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(databases)
    insert = (
        "insert into control.usage_events (id, tenant_id, meter, quantity, window_start)"
        " values ($1, $2, 'runs', $3, now())"
    )
    async with databases.own("control") as slow, databases.own("control") as quick:
        under_way = slow.transaction()
        await under_way.start()
        await slow.execute(insert, new(), tenant.id, 5)
        await quick.execute(insert, new(), tenant.id, 7)
        await run(money.metering.count_usage, cycle())
        await under_way.commit()
    await run(money.metering.count_usage, cycle())
    assert [row["runs_used"] for row in await counters(databases, tenant)] == [12]


async def test_events_are_counted_right_while_they_come_in(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(databases)

    async def writer() -> None:
        for _ in range(30):
            await seeds.use(databases, tenant.id, 3)

    async def counter() -> None:
        for _ in range(15):
            await run(money.metering.count_usage, cycle())

    await asyncio.gather(*(writer() for _ in range(4)), counter(), counter())
    await run(money.metering.count_usage, cycle())
    assert [row["runs_used"] for row in await counters(databases, tenant)] == [360]


async def test_two_debits_at_once_take_it_once(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(databases, balance_cents=1000)
    await seeds.use(databases, tenant.id, 3000)
    await run(money.metering.count_usage, cycle())
    bill = Bill(operation_id=new(), period=NOW)
    await asyncio.gather(*(run(money.wallet.debit_usage, bill) for _ in range(6)))
    assert [row["amount_cents"] for row in await debits(databases, tenant)] == [-80]


async def test_a_debit_that_dies_before_its_commit_takes_nothing(
    databases: Databases, money: Money, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await seeds.tenant(databases, balance_cents=1000)
    await seeds.use(databases, tenant.id, 3000)
    await run(money.metering.count_usage, cycle())
    bill, real = metering.bill, []

    async def dies(*arguments: Any) -> Any:
        real.append(await bill(*arguments))
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr("db.control.metering.bill", dies)
        with pytest.raises(ConnectionResetError):
            await run(money.wallet.debit_usage, Bill(operation_id=new(), period=NOW))
    assert await debits(databases, tenant) == []
    await run(money.wallet.debit_usage, Bill(operation_id=new(), period=NOW))
    assert [row["amount_cents"] for row in await debits(databases, tenant)] == [-80]


async def test_an_alert_worsens_is_told_again_and_ends(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(databases, balance_cents=10_000)
    await seeds.channel(databases, tenant.id, "email", "ops@example.com", min_severity="critical")
    await seeds.use(databases, tenant.id, 850)
    await whole(money, NOW)
    found = await world(databases, tenant)
    assert [(row["severity"], row["status"], row["times_seen"]) for row in found["alerts"]] == [
        ("warning", "open", 1)
    ]
    assert [row["channel"] for row in found["notifications"]] == ["inapp"]

    async with databases.own("alarms") as conn:
        await conn.execute(
            "update alarms.alerts set status = 'ack', acked_by = 'ada' where tenant_id = $1", tenant.id
        )
    await whole(money, NOW + timedelta(minutes=1))
    found = await world(databases, tenant)
    assert [(row["status"], row["times_seen"]) for row in found["alerts"]] == [("ack", 2)]
    assert len(found["notifications"]) == 1

    await seeds.use(databases, tenant.id, 300)
    await whole(money, NOW + timedelta(minutes=2))
    found = await world(databases, tenant)
    assert [(row["severity"], row["status"], row["times_seen"]) for row in found["alerts"]] == [
        ("critical", "open", 3)
    ]
    assert sorted((row["channel"], row["generation"]) for row in found["notifications"]) == [
        ("email", 2), ("inapp", 1), ("inapp", 2),
    ]  # fmt: skip

    async with databases.own("control") as conn:
        await conn.execute(
            "update control.subscriptions set plan_id = $2 where tenant_id = $1",
            tenant.id,
            seeds.PLANS["team"],
        )
    await whole(money, NOW + timedelta(minutes=3))
    found = await world(databases, tenant)
    assert [row["status"] for row in found["alerts"]] == ["resolved"]


async def test_a_resolved_alert_opens_as_a_new_one(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(databases)
    await seeds.use(databases, tenant.id, 900)
    await whole(money, NOW)
    async with databases.own("alarms") as conn:
        await conn.execute("update alarms.alerts set status = 'resolved' where tenant_id = $1", tenant.id)
    await whole(money, NOW + timedelta(minutes=1))
    found = await world(databases, tenant)
    assert sorted(row["status"] for row in found["alerts"]) == ["open", "resolved"]


async def test_detectors_racing_on_one_key_open_one_alert(databases: Databases, money: Money) -> None:
    tenant = await seeds.tenant(databases)
    await seeds.use(databases, tenant.id, 900)
    one = cycle(NOW + timedelta(hours=1))
    await run(money.metering.count_usage, one)
    await run(money.metering.capture_snapshots, one)
    detect = Detect(operation_id=one.operation_id, period=one.period)
    await asyncio.gather(*(run(money.alerts.detect_alerts, detect) for _ in range(8)))
    found = await world(databases, tenant)
    assert len(found["alerts"]) == 1
    assert len(found["notifications"]) == 1


async def test_one_refill_is_begun_however_low_and_none_after_a_decline(
    databases: Databases, money: Money
) -> None:
    tenant = await seeds.tenant(databases, threshold_cents=100, refill_cents=500, auto_refill=True)
    quiet = await seeds.tenant(databases, threshold_cents=100, refill_cents=500, auto_refill=False)
    barred = await seeds.tenant(databases, threshold_cents=100, refill_cents=500, auto_refill=True)
    async with databases.own("control") as conn:
        await conn.execute("update control.tenants set status = 'suspended' where id = $1", barred.id)
    for minute in range(3):
        await whole(money, NOW + timedelta(minutes=minute))
    refills = "select id, state from control.operations where kind = 'wallet_refill' and subject_id = $1"
    (operation,) = await seeds.rows(databases, "control", refills, tenant.wallet_id)
    assert await seeds.rows(databases, "control", refills, quiet.wallet_id) == []
    assert await seeds.rows(databases, "control", refills, barred.wallet_id) == []

    async with databases.own("control") as conn:
        await conn.execute("update control.operations set state = 'failed' where id = $1", operation["id"])
        await conn.execute(
            "insert into control.refills (id, wallet_id, amount_cents, state, created_at)"
            " values ($1, $2, 500, 'declined', $3)",
            new(), tenant.wallet_id, NOW,
        )  # fmt: skip
    await whole(money, NOW + timedelta(minutes=5))
    assert len(await seeds.rows(databases, "control", refills, tenant.wallet_id)) == 1
    await whole(money, NOW + timedelta(days=2))
    assert len(await seeds.rows(databases, "control", refills, tenant.wallet_id)) == 2


async def test_a_cluster_that_is_away_holds_up_nobody(databases: Databases, money: Money) -> None:
    here, away = await seeds.tenant(databases, with_table=True), await seeds.tenant(databases)
    async with databases.own("control") as conn:
        await conn.execute(
            "insert into control.clusters (id, host, port, database, region, class)"
            " values ('gone', '127.0.0.1', 1, 'data', 'local', 'dedicated') on conflict do nothing"
        )
        await conn.execute("update gateway.placements set cluster_id = 'gone' where tenant_id = $1", away.id)
    try:
        measured = await run(money.metering.measure_sizes, cycle())
        assert measured.clusters_missed == ["gone"]
        assert await counters(databases, here) != []
        assert await counters(databases, away) == []
    finally:
        async with databases.own("control") as conn:
            await conn.execute("delete from gateway.placements where tenant_id = $1", away.id)
            await conn.execute("delete from control.clusters where id = 'gone'")


async def test_the_reader_of_sizes_may_write_nothing(databases: Databases) -> None:
    tenant = await seeds.tenant(databases, with_table=True)
    async with databases.connect("metering_worker", "data") as conn:
        await conn.execute("set role tenant_reader")
        assert await conn.fetchval(f"select count(*) from {tenant.table}") == 0
        for statement in (f"delete from {tenant.table}", f"insert into {tenant.table} (id) values ('x')"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(statement)


async def test_a_debit_that_is_refused_stops_nobody_else_and_is_said(
    databases: Databases, money: Money
) -> None:
    taken, same, fine = [await seeds.tenant(databases, balance_cents=1000) for _ in range(3)]
    for tenant, cents in ((taken, -7), (same, -20)):
        async with databases.own("control") as conn:
            await conn.execute(
                "insert into control.wallet_ledger (id, wallet_id, type, amount_cents, ref, seq, balance_after_cents)"
                " values ($1, $2, 'adjustment', $3, $4, 0, 0)",
                new(), tenant.wallet_id, cents, f"usage/{MONTH:%Y-%m}/1500",
            )  # fmt: skip
    for tenant in (taken, same, fine):
        await seeds.use(databases, tenant.id, 1500)
    await run(money.metering.count_usage, cycle())
    bill = Bill(operation_id=new(), period=NOW)
    billed = [await run(money.wallet.debit_usage, bill) for _ in range(2)]
    assert [each.failed for each in billed] == [2, 2]
    assert [row["amount_cents"] for row in await debits(databases, fine)] == [-20]
    for tenant in (taken, same):
        assert [row["runs_billed"] for row in await counters(databases, tenant)] == [0]
    alerts = (
        "select status, times_seen, context_json from alarms.alerts"
        " where tenant_id is null and dedupe_key = 'INVARIANT_BROKEN/debits'"
    )
    (said,) = await seeds.rows(databases, "alarms", alerts)
    assert (said["status"], said["times_seen"]) == ("open", 1)
    for tenant in (taken, same):
        assert tenant.id in str(said["context_json"])
        await seeds.use(databases, tenant.id, 100)
    await run(money.metering.count_usage, cycle())
    later = Bill(operation_id=new(), period=NOW + timedelta(minutes=1))
    assert (await run(money.wallet.debit_usage, later)).failed == 0
    (said,) = await seeds.rows(databases, "alarms", alerts)
    assert said["status"] == "resolved"


async def test_an_automatic_refill_that_cannot_be_waits_and_is_said(
    databases: Databases, money: Money
) -> None:
    tenant = await seeds.tenant(databases, threshold_cents=100, refill_cents=10**9, auto_refill=True)
    refills = "select id from control.operations where kind = 'wallet_refill' and subject_id = $1"
    await whole(money, NOW)
    (operation,) = await seeds.rows(databases, "control", refills, tenant.wallet_id)
    async with databases.own("control") as conn:
        await conn.execute(
            "update control.operations set state = 'failed', error_json = '{\"code\": \"invalid\"}' where id = $1",
            operation["id"],
        )
    await whole(money, NOW + timedelta(minutes=1))
    assert len(await seeds.rows(databases, "control", refills, tenant.wallet_id)) == 1
    found = await world(databases, tenant)
    assert ("REFILL_FAILED", "open") in {(row["kind"], row["status"]) for row in found["alerts"]}
    await whole(money, NOW + timedelta(days=2))
    assert len(await seeds.rows(databases, "control", refills, tenant.wallet_id)) == 2
