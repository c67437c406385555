"""Days that hang on the present moment: `today`, `this_week`, `7_days_ago`, `last_3_months`."""

import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

UTC_NAME = "UTC"
EXAMPLES = "today, yesterday, tomorrow, 3_days_ago, 2_weeks_ahead, this_month, last_year, next_7_days"
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_AWAY = re.compile("([0-9]{1,6})_(day|week|month|year)s?_(ago|ahead)")
_WHOLE = re.compile("(last|this|next)_(week|month|year)")
_RUN = re.compile("(last|next)_([0-9]{1,6})_(day|week|month|year)s?")
_MOST = {"day": 36_500, "week": 5_200, "month": 1_200, "year": 100}
"""A hundred years either way, so that no day leaves the calendar."""
_TURN = {"last": -1, "this": 0, "next": 1, "ago": -1, "ahead": 1}
_STARTS: dict[str, Callable[[date], date]] = {
    "week": lambda day: day - timedelta(day.weekday()),
    "month": lambda day: day.replace(day=1),
    "year": lambda day: day.replace(month=1, day=1),
}
_ONE_DAY = timedelta(1)


@dataclass(frozen=True, slots=True)
class Relative:
    """A day or a span of days as they are in a time zone when the question is asked."""

    word: str
    zone: str = UTC_NAME

    @property
    def key(self) -> str:
        """What tells it from other values."""
        return f"{self.word}@{self.zone}"

    @property
    def is_day(self) -> bool:
        """Whether it is one day."""
        return self.word in _DAYS or _AWAY.fullmatch(self.word) is not None

    def bounds(self, now: datetime, *, as_moments: bool) -> tuple[str, str]:
        """Return its first day and the day after its last, or the moments when those begin."""
        zone = _zone(self.zone)
        days = _span(self.word, now.astimezone(zone).date())
        if not as_moments:
            return days[0].isoformat(), days[1].isoformat()
        first, end = (
            datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).isoformat() for day in days
        )
        return first, end


def relative(text: str, zone: str) -> Relative | None:
    """Return what `text` stands for, or None where it is no such word; ValueError where it is too far away."""
    if text in _DAYS or _WHOLE.fullmatch(text):
        return Relative(text, zone)
    if found := _AWAY.fullmatch(text):
        count, unit, turn = found.groups()
        word = f"{int(count)}_{unit}s_{turn}"
    elif found := _RUN.fullmatch(text):
        turn, count, unit = found.groups()
        word = f"{turn}_{int(count)}_{unit}s"
        if int(count) == 0:
            raise ValueError("a span has at least 1 day")
    else:
        return None
    if int(count) > _MOST[unit]:
        raise ValueError(f"at most {_MOST[unit]} {unit}s away")
    return Relative(word, zone)


def check_zone(name: str) -> str:
    """Return the name of a time zone, such as Europe/Berlin; ValueError where there is none such."""
    if name != UTC_NAME and name not in _zones():
        close = get_close_matches(name[:100], [UTC_NAME, *_zones()], n=1)
        hint = f"did you mean {close[0]!r}?" if close else "name one as UTC or Europe/Berlin"
        raise ValueError(f"there is no time zone {name[:100]!r}; {hint}")
    return name


def _span(word: str, today: date) -> tuple[date, date]:
    """Return the first day and the day after the last."""
    if word in _DAYS:
        day = today + timedelta(_DAYS[word])
        return day, day + _ONE_DAY
    if found := _AWAY.fullmatch(word):
        count, unit, turn = found.groups()
        day = _shifted(today, _TURN[turn] * int(count), unit)
        return day, day + _ONE_DAY
    if found := _WHOLE.fullmatch(word):
        turn, unit = found.groups()
        first = _shifted(_STARTS[unit](today), _TURN[turn], unit)
        return first, _shifted(first, 1, unit)
    found = _RUN.fullmatch(word)
    if found is None:
        raise ValueError(word)
    turn, count, unit = found.groups()
    other = _shifted(today, _TURN[turn] * int(count), unit)
    return (other + _ONE_DAY, today + _ONE_DAY) if turn == "last" else (today, other)


def _shifted(day: date, count: int, unit: str) -> date:
    """Return the day `count` units later; the last of the month where it has no such day."""
    if unit in ("day", "week"):
        return day + timedelta(count * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 + count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _zone(name: str) -> tzinfo:
    return UTC if name == UTC_NAME else ZoneInfo(name)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    # Not `localtime` and its like, which mean what the machine says.
    return frozenset(name for name in available_timezones() if "/" in name)
