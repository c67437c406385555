"""Partitions stand before they are needed, on every day of the year, and go when nobody may ask for them."""

from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from core import retention

MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2039, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS)
def test_a_row_of_the_next_eighty_days_finds_its_month(now: datetime) -> None:
    names = retention.partitions_needed(now).names()
    for days in range(-27, 81):
        assert f"{now + timedelta(days=days):%Y-%m}" in names or days < -1


@given(MOMENTS)
def test_months_are_consecutive_and_few(now: datetime) -> None:
    names = retention.partitions_needed(now).names()
    assert len(names) == len(set(names)) == 5
    assert names == sorted(names)


def test_the_month_is_utcs_at_its_end() -> None:
    local = datetime(2026, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-3)))
    assert retention.partitions_needed(local).names() == [
        "2026-12",
        "2027-01",
        "2027-02",
        "2027-03",
        "2027-04",
    ]


MONTHS = st.sets(st.dates(date(2024, 1, 1), date(2039, 12, 31)).map(lambda day: day.replace(day=1)))
KEPT_DAYS = st.integers(1, 3650)


@given(MONTHS, KEPT_DAYS, MOMENTS)
def test_what_is_kept_stays_and_months_go_from_the_first_one_on(
    months: set[date], kept_days: int, now: datetime
) -> None:
    past = retention.months_past(months, kept_days, now)
    assert past == sorted(months)[: len(past)]
    kept_since = now - timedelta(days=kept_days)
    for month in months:
        last_moment = datetime.combine(month + timedelta(days=27), datetime.max.time(), UTC)
        while (last_moment + timedelta(days=1)).month == month.month:
            last_moment += timedelta(days=1)
        is_kept = last_moment >= kept_since - retention.CALL_MAX
        must_exist = f"{month:%Y-%m}" >= retention.partitions_needed(now).names()[0]
        assert (month in past) == (not is_kept and not must_exist)


@given(KEPT_DAYS, MOMENTS)
def test_what_the_upkeep_makes_it_does_not_drop(kept_days: int, now: datetime) -> None:
    made = [date.fromisoformat(f"{name}-01") for name in retention.partitions_needed(now).names()]
    assert retention.months_past(made, kept_days, now) == []


def test_a_month_goes_when_its_last_moment_is_older_than_what_is_kept_and_a_call() -> None:
    october = date(2026, 10, 1)
    over = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=90, hours=1)
    assert retention.months_past([october], 90, over) == []
    assert retention.months_past([october], 90, over + timedelta(microseconds=1)) == [october]


def test_a_key_is_kept_for_a_day() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert retention.idempotency_expires_before(now) == now - timedelta(hours=24)
