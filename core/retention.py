"""How long rows are kept, and which months' partitions must exist."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

MONTHS_AHEAD = 3
IDEMPOTENCY_KEPT = timedelta(hours=24)
TRASH_DAYS = 30
MAX_TRASH_DAYS = 90
"""A deleted record is restored from the change log, of which nothing is let go that a table's trash needs."""
CALL_MAX = timedelta(hours=1)
"""Longer than any call takes that was still allowed to ask for what is then let go."""


@dataclass(frozen=True)
class Months:
    """A run of months: the first day of the first one, and how many come after it."""

    first: date
    after: int

    def names(self) -> list[str]:
        """Return each month as `2026-11`, in order."""
        start = self.first.year * 12 + self.first.month - 1
        return [f"{month // 12:04}-{month % 12 + 1:02}" for month in range(start, start + self.after + 1)]


def partitions_needed(now: datetime) -> Months:
    """Return the months whose partitions must exist at `now`: the last one, this one and three ahead."""
    today = now.astimezone(UTC).date().replace(day=1)
    last_month = (today - timedelta(days=1)).replace(day=1)
    return Months(last_month, MONTHS_AHEAD + 1)


def months_past(months: Iterable[date], kept_days: int, now: datetime) -> list[date]:
    """Return those of a change log's `months`, by their first days, that are too old at `now`, the oldest first.

    A month is let go as a whole, when its last moment is older than what is kept; one that must exist never is.
    """
    before = now - timedelta(days=kept_days) - CALL_MAX
    first = partitions_needed(now).first
    return sorted(month for month in months if month < first and _end(month) < before)


def _end(month: date) -> datetime:
    following = (month.replace(day=1) + timedelta(days=31)).replace(day=1)
    return datetime(following.year, following.month, 1, tzinfo=UTC)


def idempotency_expires_before(now: datetime) -> datetime:
    """Return the moment before which an Idempotency-Key is forgotten."""
    return now - IDEMPOTENCY_KEPT
