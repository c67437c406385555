"""Partitions stand before they are needed, on every day of the year."""

from datetime import UTC, datetime, timedelta, timezone

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


def test_a_key_is_kept_for_a_day() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert retention.idempotency_expires_before(now) == now - timedelta(hours=24)
