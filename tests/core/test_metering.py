"""Money for runs: nothing lost to rounding, nothing taken twice, never more than there is."""

from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import assume, given
from hypothesis import strategies as st

from core import metering, wallet
from core.ids import Ulid
from core.metering import Tariff

TARIFFS = st.builds(Tariff, included_runs=st.integers(0, 5_000), price_cents_per_1000=st.integers(0, 9_000))
RUNS = st.integers(0, 200_000)
TENANT = Ulid("01kb0000000000000000000009")
OPERATION = Ulid("01kb000000000000000000000a")


@given(TARIFFS, st.lists(st.integers(0, 3_000), max_size=30))
def test_many_small_debits_take_exactly_what_one_would(tariff: Tariff, growth: list[int]) -> None:
    used = billed = paid = 0
    for more in growth:
        used += more
        charge = metering.charge(used, billed, tariff, balance_cents=10**12)
        if charge is not None:
            assert charge.billed_to == used
            paid, billed = paid + charge.amount_cents, charge.billed_to
    assert paid == metering.due_cents(used, tariff)


@given(TARIFFS, RUNS, RUNS, st.integers(0, 100_000))
def test_a_debit_is_within_the_balance_and_what_is_due(
    tariff: Tariff, used: int, billed: int, balance_cents: int
) -> None:
    assume(billed <= used)
    charge = metering.charge(used, billed, tariff, balance_cents)
    if charge is None:
        return
    assert 0 < charge.amount_cents <= min(balance_cents, metering.unbilled_cents(used, billed, tariff))
    assert billed < charge.billed_to <= used
    assert 0 < charge.runs <= charge.billed_to - billed
    # What was paid and what is still due add up: the rest stays due, to the cent.
    rest = metering.unbilled_cents(used, charge.billed_to, tariff)
    assert charge.amount_cents + rest == metering.unbilled_cents(used, billed, tariff)


@given(TARIFFS, RUNS, RUNS, st.integers(0, 100_000))
def test_no_more_runs_could_have_been_paid(
    tariff: Tariff, used: int, billed: int, balance_cents: int
) -> None:
    assume(billed <= used)
    charge = metering.charge(used, billed, tariff, balance_cents)
    billed_to = charge.billed_to if charge else billed
    if metering.unbilled_cents(used, billed_to, tariff):
        next_step = next(
            runs
            for runs in range(billed_to, used + 1)
            if metering.due_cents(runs, tariff) > metering.due_cents(billed_to, tariff)
        )
        assert metering.unbilled_cents(next_step, billed, tariff) > balance_cents


@given(TARIFFS, RUNS, st.lists(st.integers(0, 500), min_size=1, max_size=20))
def test_topping_up_bit_by_bit_pays_the_whole(tariff: Tariff, used: int, topups: list[int]) -> None:
    balance = billed = paid = 0
    for cents in [*topups, metering.due_cents(used, tariff)]:
        balance += cents
        charge = metering.charge(used, billed, tariff, balance)
        if charge is not None:
            balance, paid, billed = (
                balance - charge.amount_cents,
                paid + charge.amount_cents,
                charge.billed_to,
            )
        assert balance >= 0
    assert paid == metering.due_cents(used, tariff)


def test_runs_within_the_plan_cost_nothing() -> None:
    tariff = Tariff(included_runs=1000, price_cents_per_1000=40)
    assert metering.due_cents(1000, tariff) == 0
    assert metering.due_cents(1024, tariff) == 0
    assert metering.due_cents(1025, tariff) == 1
    assert metering.due_cents(2000, tariff) == 40


def test_a_month_is_utc_and_names_its_debits() -> None:
    late = datetime(2026, 11, 30, 22, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert metering.month_of(late) == date(2026, 12, 1)
    assert metering.window_of(date(2026, 12, 1)) == "2026-12"
    assert wallet.usage_ref(metering.window_of(date(2026, 12, 1)), 1234) == "usage/2026-12/1234"


def test_ids_follow_from_what_they_name() -> None:
    at = datetime(2026, 11, 24, 10, tzinfo=UTC)
    first = metering.runs_event_id(at, "local", 1, 77, TENANT, OPERATION)
    assert first == metering.runs_event_id(at, "local", 1, 77, TENANT, OPERATION)
    others = {
        metering.runs_event_id(at, "eu-2", 1, 77, TENANT, OPERATION),
        metering.runs_event_id(at, "local", 2, 77, TENANT, OPERATION),
        metering.runs_event_id(at, "local", 1, 78, TENANT, OPERATION),
        metering.runs_event_id(at, "local", 1, 77, TENANT, TENANT),
        metering.runs_event_id(at, "local", 1, 77, TENANT, None),
    }
    assert first not in others
    assert len(others) == 5
    assert metering.counter_id(TENANT, date(2026, 11, 1)) != metering.counter_id(TENANT, date(2026, 12, 1))
    assert metering.snapshot_id(at, TENANT, "runs_used", "2026-11") != metering.snapshot_id(
        at, TENANT, "api_calls", "2026-11"
    )
