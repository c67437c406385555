"""When an alert opens, worsens and ends: the detector's rules."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from core.ids import Ulid

Kind = Literal[
    "RUNS_THRESHOLD",
    "STORAGE_THRESHOLD",
    "RECORDS_THRESHOLD",
    "RATE_LIMIT",
    "WALLET_LOW_BALANCE",
    "REFILL_FAILED",
    "DELIVERY_FAILED",
    "INVARIANT_BROKEN",
]
Severity = Literal["info", "warning", "critical"]
Status = Literal["open", "ack", "resolved"]

_RANK: Mapping[str, int] = {"info": 0, "warning": 1, "critical": 2}
_WARN_AT = Decimal("0.8")
_OF_METRIC: Mapping[str, Kind] = {
    "runs_used": "RUNS_THRESHOLD",
    "storage_gb": "STORAGE_THRESHOLD",
    "records_count": "RECORDS_THRESHOLD",
}
# What a metering cycle looks at as a whole: a live alert of these kinds that it does not see again has ended.
DETECTED: frozenset[Kind] = frozenset({*_OF_METRIC.values(), "WALLET_LOW_BALANCE"})


@dataclass(frozen=True)
class Observation:
    """Something is the matter now; `dedupe_key` says when two observations are one alert."""

    kind: Kind
    severity: Severity
    dedupe_key: str
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Live:
    """An alert that is open or acknowledged."""

    id: Ulid
    kind: Kind
    severity: Severity
    status: Status
    dedupe_key: str


@dataclass(frozen=True)
class Change:
    """What is to happen to one alert; `is_news` says that people are told."""

    do: Literal["open", "see", "resolve"]
    dedupe_key: str
    seen: Observation | None = None
    live: Live | None = None
    is_news: bool = False


def threshold(metric: str, window: str, value: Decimal, limit: Decimal | None) -> Observation | None:
    """Return what a metric's share of its limit means: a warning from 80 %, critical from 100 %."""
    kind = _OF_METRIC.get(metric)
    if kind is None or limit is None or value <= 0 or value < limit * _WARN_AT:
        return None
    severity: Severity = "critical" if value >= limit else "warning"
    # Runs begin anew each month; what is stored goes on, and is the same alert then.
    key = f"{kind}/{window}" if kind == "RUNS_THRESHOLD" else kind
    context = {"metric": metric, "window": window, "value": _plain(value), "limit": _plain(limit)}
    return Observation(kind, severity, key, context)


def low_balance(
    wallet_id: Ulid, balance_cents: int, threshold_cents: int, unpaid_cents: int
) -> Observation | None:
    """Return what a balance means: a warning below its threshold, critical when something is unpaid."""
    if not unpaid_cents and balance_cents >= threshold_cents:
        return None
    context = {
        "wallet_id": wallet_id,
        "balance_cents": balance_cents,
        "threshold_cents": threshold_cents,
        "unpaid_cents": unpaid_cents,
    }
    return Observation(
        "WALLET_LOW_BALANCE",
        "critical" if unpaid_cents else "warning",
        f"WALLET_LOW_BALANCE/{wallet_id}",
        context,
    )


def refill_failed(wallet_id: Ulid, reason: str, amount_cents: int) -> Observation:
    """Return what a charge that did not come through means."""
    context = {"wallet_id": wallet_id, "reason": reason, "amount_cents": amount_cents}
    return Observation("REFILL_FAILED", "critical", refill_key(wallet_id), context)


def refill_key(wallet_id: Ulid) -> str:
    """Return the key under which a wallet's failed refills are one alert."""
    return f"REFILL_FAILED/{wallet_id}"


def delivery_failed(channel_id: Ulid | None, channel: str, error: str) -> Observation:
    """Return what a delivery that was given up means; a hook's address is a secret and not in it."""
    context = {"channel_id": channel_id, "channel": channel, "error": error}
    return Observation("DELIVERY_FAILED", "warning", delivery_key(channel_id, channel), context)


def delivery_key(channel_id: Ulid | None, channel: str) -> str:
    """Return the key under which a channel's failed deliveries are one alert."""
    return f"DELIVERY_FAILED/{channel_id or channel}"


def is_worse(severity: str, than: str) -> bool:
    """Tell whether one severity is above another."""
    return _RANK[severity] > _RANK[than]


def hears(min_severity: str, severity: str) -> bool:
    """Tell whether a channel that asks for `min_severity` is told of `severity`."""
    return _RANK[severity] >= _RANK[min_severity]


def decide_one(live: Live | None, seen: Observation) -> Change:
    """Return what an observation does: it opens an alert or is seen again; a worse one is news, and open."""
    if live is None:
        return Change("open", seen.dedupe_key, seen, is_news=True)
    return Change("see", seen.dedupe_key, seen, live, is_news=is_worse(seen.severity, live.severity))


def decide(
    live: Iterable[Live], seen: Iterable[Observation], looked_at: Collection[Kind] = DETECTED
) -> list[Change]:
    """Return the changes that make one tenant's live alerts match what is `seen` of the kinds `looked_at`."""
    by_key = {alert.dedupe_key: alert for alert in live}
    changes = [decide_one(by_key.get(each.dedupe_key), each) for each in seen]
    still = {change.dedupe_key for change in changes}
    changes += [
        Change("resolve", key, live=alert)
        for key, alert in by_key.items()
        if key not in still and alert.kind in looked_at
    ]
    return changes


def status_after(change: Change) -> Status:
    """Return the status of the alert after `change`: what was acknowledged stays so unless it got worse."""
    if change.do == "resolve":
        return "resolved"
    if change.live is None or change.is_news:
        return "open"
    return change.live.status


def _plain(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
