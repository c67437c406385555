"""When an operator may enter: password and a one-time code, each code once, and a pause after five failures."""

import hmac
from datetime import timedelta
from enum import StrEnum

import pyotp

MAX_FAILURES = 5
LOCKED_FOR = timedelta(minutes=15)
STEP_S = 30
# A clock may be half a minute off, and a person slow.
_STEPS_AROUND = (-1, 0, 1)


class Verdict(StrEnum):
    """What a login came to; callers hear only whether it worked."""

    WELCOME = "welcome"
    UNKNOWN = "unknown"
    LOCKED = "locked"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105
    WRONG_CODE = "wrong_code"
    REPLAYED_CODE = "replayed_code"


def matching_step(secret: str, code: str, now_s: float) -> int | None:
    """Return the time step that `code` belongs to, or None; the work is the same either way."""
    totp = pyotp.TOTP(secret, interval=STEP_S)
    present = int(now_s) // STEP_S
    found = None
    for offset in _STEPS_AROUND:
        step = present + offset
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
            found = step
    return found


def judge(*, known: bool, locked: bool, password_fits: bool, step: int | None, last_step: int) -> Verdict:
    """Return what a login comes to."""
    if not known:
        return Verdict.UNKNOWN
    if locked:
        return Verdict.LOCKED
    if not password_fits:
        return Verdict.WRONG_PASSWORD
    if step is None:
        return Verdict.WRONG_CODE
    # A code that was seen is known to whoever saw it.
    return Verdict.WELCOME if step > last_step else Verdict.REPLAYED_CODE


def counts_as_failure(verdict: Verdict) -> bool:
    """Tell whether a login brings the pause nearer; one during the pause does not make it longer."""
    return verdict in (Verdict.WRONG_PASSWORD, Verdict.WRONG_CODE, Verdict.REPLAYED_CODE)


def is_pause_due(failures: int) -> bool:
    """Tell whether so many failures in a row bring the pause."""
    return failures >= MAX_FAILURES
