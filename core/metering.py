"""What usage means: months, gigabytes, and what is due for the runs over a plan."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from core.ids import Ulid, derived

GB_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Tariff:
    """What a plan asks for runs: so many are included in a month, the others cost."""

    included_runs: int
    price_cents_per_1000: int


@dataclass(frozen=True)
class Charge:
    """One debit: it brings the month's billed runs to `billed_to`, of which `runs` are over the plan."""

    amount_cents: int
    runs: int
    billed_to: int


def due_cents(runs: int, tariff: Tariff) -> int:
    """Return what a month's `runs` cost in all, cents begun being left for later."""
    return max(0, runs - tariff.included_runs) * tariff.price_cents_per_1000 // 1000


def unbilled_cents(used: int, billed: int, tariff: Tariff) -> int:
    """Return what is still to be debited; differences of whole sums, so no rounding is ever lost."""
    return max(0, due_cents(used, tariff) - due_cents(billed, tariff))


def charge(used: int, billed: int, tariff: Tariff, balance_cents: int) -> Charge | None:
    """Return the debit of what is due that the balance affords; None when that is not one cent."""
    due = unbilled_cents(used, billed, tariff)
    if due <= 0:
        return None
    so_far = due_cents(billed, tariff)
    # A run may cost less than a cent, or several: the most runs that the balance covers, at their price.
    billed_to = used if due <= balance_cents else _runs_for(so_far + balance_cents, tariff)
    amount = due_cents(billed_to, tariff) - so_far
    if amount <= 0:
        return None
    over = max(billed_to, tariff.included_runs) - max(billed, tariff.included_runs)
    return Charge(amount, over, billed_to)


def _runs_for(cents: int, tariff: Tariff) -> int:
    return tariff.included_runs + ((cents + 1) * 1000 - 1) // tariff.price_cents_per_1000


def month_of(at: datetime) -> date:
    """Return the first day of the month that `at` falls in, in UTC."""
    return at.astimezone(UTC).date().replace(day=1)


def window_of(month: date) -> str:
    """Return the month's name as a window: `2026-11`."""
    return f"{month:%Y-%m}"


def counter_id(tenant_id: Ulid, month: date) -> Ulid:
    """Return the id of a tenant's counters of a month."""
    return derived(_ms(datetime(month.year, month.month, 1, tzinfo=UTC)), "usage", tenant_id)


def snapshot_id(period: datetime, tenant_id: Ulid, metric: str, window: str) -> Ulid:
    """Return the id of one metric's snapshot in one cycle."""
    return derived(_ms(period), "snapshot", tenant_id, metric, window)


def runs_event_id(
    at: datetime, origin: str, generation: int, xid: int, tenant_id: Ulid, operation_id: Ulid | None
) -> Ulid:
    """Return the id of the usage event of what one call, or nobody's, wrote in one transaction: counted once, however
    often it is relayed."""
    return derived(_ms(at), "runs", origin, str(generation), str(xid), tenant_id, operation_id or "")


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
