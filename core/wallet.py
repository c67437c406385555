"""What may move a wallet's money, and when it is filled again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from core.ids import Ulid, derived, ms_of

EntryType = Literal["topup", "debit", "expire", "adjustment"]
Outcome = Literal["requested", "paid", "declined"]

REFILL_MAX_CENTS = 100_000_000
"""One refill takes at most this, whoever asks for it."""

_USAGE, _REFILL, _EXPIRE = "usage/", "refill/", "expire/"
RESERVED_REFS = (_USAGE, _REFILL, _EXPIRE)
"""What the platform's own refs begin with: nobody else may take such a name in a wallet."""

# After a declined charge the next automatic one waits: a bank that said no is not asked every cycle.
_BACK_OFF_DAYS = (1, 3, 5)


@dataclass(frozen=True)
class Entry:
    """One movement: `ref` is its name in the wallet, and a name is posted once."""

    type: EntryType
    amount_cents: int
    ref: str
    runs_delta: int = 0


def refill_id(operation_id: Ulid) -> Ulid:
    """Return the id of the refill that an operation makes: the provider's key and the ledger's ref."""
    return derived(ms_of(operation_id), "refill", operation_id)


def refill_ref(refill: Ulid) -> str:
    """Return the ledger's ref of a paid refill."""
    return f"{_REFILL}{refill}"


def usage_ref(window: str, billed_to: int) -> str:
    """Return the ledger's ref of a debit: the same runs of a month can be debited only once."""
    return f"{_USAGE}{window}/{billed_to}"


def is_reserved(ref: str) -> bool:
    """Tell whether a ref is one that the platform gives itself."""
    return ref.startswith(RESERVED_REFS)


def is_refill(amount_cents: int) -> bool:
    """Tell whether a refill can be of this amount."""
    return 0 < amount_cents <= REFILL_MAX_CENTS


def is_low(balance_cents: int, threshold_cents: int) -> bool:
    """Tell whether the wallet is to be filled again, or somebody told."""
    return balance_cents < threshold_cents


def with_failed(
    latest: Sequence[tuple[Outcome, datetime]], failed: Sequence[datetime]
) -> list[tuple[Outcome, datetime]]:
    """Return the outcomes, newest first, in which a refill that failed for good waits like a declined one."""
    declined: list[tuple[Outcome, datetime]] = [("declined", at) for at in failed]
    return sorted([*latest, *declined], key=lambda each: each[1], reverse=True)


def may_auto_refill(latest: Sequence[tuple[Outcome, datetime]], now: datetime) -> bool:
    """Tell whether a charge may be tried without being asked, by the outcomes so far, newest first."""
    declines = 0
    for outcome, _ in latest:
        if outcome != "declined":
            break
        declines += 1
    if not declines:
        return True
    wait = timedelta(days=_BACK_OFF_DAYS[min(declines, len(_BACK_OFF_DAYS)) - 1])
    return now >= latest[0][1] + wait
