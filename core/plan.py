"""What a plan lets its tenants do per unit of time."""

from dataclasses import dataclass

_CALLS_PER_MINUTE_BY_TIER = (6_000, 60_000, 600_000)


@dataclass(frozen=True)
class Limit:
    """At most so many calls and runs per window; None is no limit."""

    window: str
    api_limit: int | None
    runs_limit: int | None


def limits(tier: int, monthly_runs: int) -> tuple[Limit, ...]:
    """Return the limits that come with a plan of this tier; above the highest known tier, that one's."""
    calls = _CALLS_PER_MINUTE_BY_TIER[min(max(tier, 0), len(_CALLS_PER_MINUTE_BY_TIER) - 1)]
    return (
        Limit("minute", api_limit=calls, runs_limit=None),
        Limit("month", api_limit=None, runs_limit=monthly_runs),
    )
