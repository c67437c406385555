"""Usage by month: counted from the events, measured at the clusters, and debited."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import text

from core import metering, wallet
from core.ids import Ulid
from core.metering import Tariff
from core.wallet import Entry
from db.control import ledger
from db.sessions import ControlSession

_CURSOR = "metering"
_DIRTY_MAX = 100_000


@dataclass(frozen=True)
class Dirty:
    """A month of a tenant whose events have grown since it was last counted."""

    tenant_id: Ulid
    month: date


@dataclass(frozen=True)
class Home:
    """Where a tenant's records are counted."""

    tenant_id: Ulid
    cluster_id: str
    schema: str


@dataclass(frozen=True)
class Size:
    """What a tenant holds now."""

    tenant_id: Ulid
    records: int
    bytes: int


@dataclass(frozen=True)
class Standing:
    """What a tenant has used in a month, and its plan's limits; None where there is none."""

    tenant_id: Ulid
    month: date
    runs_used: int
    api_calls: int
    records_count: int
    storage_gb_used: Decimal
    monthly_runs: int | None
    record_cap: int | None
    storage_cap_gb: Decimal | None
    api_limit: int | None


@dataclass(frozen=True)
class Purse:
    """A wallet as the detector sees it: what it holds, and what could not be debited."""

    tenant_id: Ulid
    wallet_id: Ulid
    balance_cents: int
    threshold_cents: int
    is_auto: bool
    refill_cents: int
    unpaid_cents: int


async def count_events(session: ControlSession) -> list[Dirty]:
    """Count every month that got events since the last time, as a whole; returns those months.

    Only transactions that are over are looked at, and what is counted is overwritten: none is missed or added
    twice, and the cursor moves in this transaction.
    """
    await session.execute(
        text("insert into control.relay_cursors (name) values (:name) on conflict do nothing"),
        {"name": _CURSOR},
    )
    since = await session.scalar(
        text("select cast(xid as text) from control.relay_cursors where name = :name for update"),
        {"name": _CURSOR},
    )
    watermark = await session.scalar(text("select cast(pg_snapshot_xmin(pg_current_snapshot()) as text)"))
    rows = await session.execute(
        text("""
            select tenant_id, cast(date_trunc('month', window_start at time zone 'UTC') as date) as month
              from control.usage_events
             where xid >= cast(cast(:since as text) as xid8) and xid < cast(cast(:watermark as text) as xid8)
             group by 1, 2 order by 1, 2 limit :max"""),
        {"since": since, "watermark": watermark, "max": _DIRTY_MAX + 1},
    )
    dirty = [Dirty(row.tenant_id, row.month) for row in rows]
    if len(dirty) > _DIRTY_MAX:
        raise ValueError(f"more than {_DIRTY_MAX} months to count at once")
    if dirty:
        await _count(session, dirty)
    await session.execute(
        text("""
            update control.relay_cursors set xid = cast(cast(:xid as text) as xid8), updated_at = now()
             where name = :name"""),
        {"xid": watermark, "name": _CURSOR},
    )
    return dirty


async def _count(session: ControlSession, dirty: Sequence[Dirty]) -> None:
    await session.execute(
        text("""
            insert into control.usage_counters as c (id, tenant_id, month, runs_used, api_calls)
            select d.id, d.tenant_id, d.month,
                   coalesce(sum(e.quantity) filter (where e.meter = 'runs'), 0),
                   coalesce(sum(e.quantity) filter (where e.meter = 'api_calls'), 0)
              from unnest(cast(:ids as text[]), cast(:tenants as text[]), cast(:months as date[]))
                     as d (id, tenant_id, month)
              join control.tenants t on t.id = d.tenant_id
              join control.usage_events e
                on e.tenant_id = d.tenant_id
               and e.window_start >= cast(d.month as timestamp) at time zone 'UTC'
               and e.window_start < (cast(d.month as timestamp) + interval '1 month') at time zone 'UTC'
             group by d.id, d.tenant_id, d.month
            on conflict (tenant_id, month) do update
               set runs_used = excluded.runs_used, api_calls = excluded.api_calls, updated_at = now()
             where (c.runs_used, c.api_calls) is distinct from (excluded.runs_used, excluded.api_calls)"""),
        {
            "ids": [metering.counter_id(each.tenant_id, each.month) for each in dirty],
            "tenants": [each.tenant_id for each in dirty],
            "months": [each.month for each in dirty],
        },
    )


async def homes(
    session: ControlSession, after: Ulid | None, limit: int, *, active_only: bool = False
) -> list[Home]:
    """Return the homes of live tenants by tenant id, those after `after`; suspended ones too unless told."""
    rows = await session.execute(
        text("""
            select p.tenant_id, p.cluster_id, p.schema from gateway.placements p
              join control.tenants t on t.id = p.tenant_id
               and (t.status = 'active' or (t.status = 'suspended' and not :active_only))
             where p.state = 'active' and p.tenant_id > :after order by p.tenant_id limit :limit"""),
        {"after": after or "", "limit": limit, "active_only": active_only},
    )
    return [Home(row.tenant_id, row.cluster_id, row.schema) for row in rows]


async def write_sizes(session: ControlSession, month: date, sizes: Sequence[Size]) -> None:
    """Note what tenants hold, in the counters of `month`. Repeating it changes nothing."""
    await session.execute(
        text("""
            insert into control.usage_counters as c (id, tenant_id, month, records_count, storage_gb_used)
            select s.id, s.tenant_id, cast(:month as date), s.records, s.gb
              from unnest(cast(:ids as text[]), cast(:tenants as text[]), cast(:records as bigint[]),
                          cast(:gb as numeric[])) as s (id, tenant_id, records, gb)
              join control.tenants t on t.id = s.tenant_id
            on conflict (tenant_id, month) do update
               set records_count = excluded.records_count, storage_gb_used = excluded.storage_gb_used,
                   updated_at = now()
             where (c.records_count, c.storage_gb_used)
                   is distinct from (excluded.records_count, excluded.storage_gb_used)"""),
        {
            "month": month,
            "ids": [metering.counter_id(size.tenant_id, month) for size in sizes],
            "tenants": [size.tenant_id for size in sizes],
            "records": [size.records for size in sizes],
            "gb": [Decimal(size.bytes) / metering.GB_BYTES for size in sizes],
        },
    )


async def billable(session: ControlSession, after: tuple[Ulid, date] | None, limit: int) -> list[Dirty]:
    """Return months of which something may be due and can be paid, in order, those after `after`."""
    tenant_id, month = after or ("", date.min)
    rows = await session.execute(
        text("""
            select c.tenant_id, c.month from control.usage_counters c
              join control.subscriptions s on s.tenant_id = c.tenant_id and s.status <> 'canceled'
              join control.plans p on p.id = s.plan_id
              join control.wallets w on w.tenant_id = c.tenant_id and w.balance_cents > 0
             where c.runs_used > greatest(c.runs_billed, p.monthly_runs) and p.run_price_cents_per_1000 > 0
               and (c.tenant_id, c.month) > (:tenant_id, cast(:month as date))
             order by c.tenant_id, c.month limit :limit"""),
        {"tenant_id": tenant_id, "month": month, "limit": limit},
    )
    return [Dirty(row.tenant_id, row.month) for row in rows]


async def bill(session: ControlSession, tenant_id: Ulid, month: date, operation_id: Ulid) -> int:
    """Debit what is due of one month as far as the wallet goes; returns the cents. Repeating it takes nothing.

    Raises Conflict where the debit's ref stands for something else: those runs are not billed.
    """
    wallet_id = await session.scalar(
        text("select id from control.wallets where tenant_id = :tenant_id"), {"tenant_id": tenant_id}
    )
    if wallet_id is None:
        return 0
    # The wallet first, as everybody who moves money does; then nobody else debits this month.
    balance_cents = await ledger.lock(session, wallet_id)
    row = (
        await session.execute(
            text("""
                select c.runs_used, c.runs_billed, p.monthly_runs, p.run_price_cents_per_1000
                  from control.usage_counters c
                  join control.subscriptions s on s.tenant_id = c.tenant_id and s.status <> 'canceled'
                  join control.plans p on p.id = s.plan_id
                 where c.tenant_id = :tenant_id and c.month = :month for update of c"""),
            {"tenant_id": tenant_id, "month": month},
        )
    ).one_or_none()
    if row is None:
        return 0
    tariff = Tariff(row.monthly_runs, row.run_price_cents_per_1000)
    charge = metering.charge(row.runs_used, row.runs_billed, tariff, balance_cents)
    if charge is None:
        return 0
    ref = wallet.usage_ref(metering.window_of(month), charge.billed_to)
    entry = Entry("debit", -charge.amount_cents, ref, -charge.runs)
    posted = await ledger.post(session, wallet_id, entry, operation_id)
    await session.execute(
        text("""
            update control.usage_counters set runs_billed = :billed_to, updated_at = now()
             where tenant_id = :tenant_id and month = :month"""),
        {"billed_to": charge.billed_to, "tenant_id": tenant_id, "month": month},
    )
    return charge.amount_cents if posted.is_new else 0


async def standings(
    session: ControlSession, months: Sequence[date], current: date, after: Ulid | None, limit: int
) -> list[Standing]:
    """Return what at most `limit` tenants after `after` have used in `months`; the current one is never left out."""
    rows = await session.execute(
        text("""
            with page as (
              select t.id, p.monthly_runs, p.record_cap, p.storage_cap_gb, r.api_limit
                from control.tenants t
                join control.subscriptions s on s.tenant_id = t.id and s.status <> 'canceled'
                join control.plans p on p.id = s.plan_id
                left join control.rate_limits r on r.tenant_id = t.id and r."window" = 'month'
               where t.status in ('active', 'suspended') and t.id > :after order by t.id limit :limit
            )
            select g.id as tenant_id, m.month, coalesce(c.runs_used, 0) as runs_used,
                   coalesce(c.api_calls, 0) as api_calls, coalesce(c.records_count, 0) as records_count,
                   coalesce(c.storage_gb_used, 0) as storage_gb_used,
                   g.monthly_runs, g.record_cap, g.storage_cap_gb, g.api_limit
              from page g cross join unnest(cast(:months as date[])) as m (month)
              left join control.usage_counters c on c.tenant_id = g.id and c.month = m.month
             where c.id is not null or m.month = :current
             order by g.id, m.month"""),
        {"months": sorted({*months, current}), "current": current, "after": after or "", "limit": limit},
    )
    return [Standing(**row._mapping) for row in rows]


async def purses(session: ControlSession, tenant_ids: Sequence[Ulid]) -> list[Purse]:
    """Return the wallets of some tenants, with what is due and unpaid of all their months."""
    rows = await session.execute(
        text("""
            select w.tenant_id, w.id as wallet_id, w.balance_cents, w.refill_threshold_cents,
                   w.auto_refill_enabled, w.refill_amount_cents,
                   p.monthly_runs, p.run_price_cents_per_1000, c.runs_used, c.runs_billed
              from control.wallets w
              left join control.subscriptions s on s.tenant_id = w.tenant_id and s.status <> 'canceled'
              left join control.plans p on p.id = s.plan_id
              left join control.usage_counters c
                on c.tenant_id = w.tenant_id and c.runs_used > greatest(c.runs_billed, p.monthly_runs)
             where w.tenant_id = any(cast(:ids as text[])) order by w.tenant_id"""),
        {"ids": list(tenant_ids)},
    )
    found: dict[Ulid, Purse] = {}
    for row in rows:
        unpaid = 0
        if row.runs_used is not None:
            tariff = Tariff(row.monthly_runs, row.run_price_cents_per_1000)
            unpaid = metering.unbilled_cents(row.runs_used, row.runs_billed, tariff)
        before = found[row.tenant_id].unpaid_cents if row.tenant_id in found else 0
        found[row.tenant_id] = Purse(
            row.tenant_id,
            row.wallet_id,
            row.balance_cents,
            row.refill_threshold_cents,
            row.auto_refill_enabled,
            row.refill_amount_cents,
            before + unpaid,
        )
    return list(found.values())
