"""When an operator may enter."""

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import login
from core.login import Verdict

SECRET = pyotp.random_base32()
NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(("off_s", "fits"), [(-61, False), (-30, True), (0, True), (30, True), (61, False)])
def test_a_code_fits_its_half_minute_and_the_ones_beside(off_s: int, fits: bool) -> None:
    code = pyotp.TOTP(SECRET).at(int(NOW_S + off_s))
    step = login.matching_step(SECRET, code, NOW_S)
    assert step == (int(NOW_S + off_s) // login.STEP_S if fits else None)


@given(st.text(max_size=8))
def test_anything_else_is_no_code(text: str) -> None:
    if text not in {pyotp.TOTP(SECRET).at(int(NOW_S) + off) for off in (-30, 0, 30)}:
        assert login.matching_step(SECRET, text, NOW_S) is None


@pytest.mark.parametrize(
    ("known", "locked", "password", "step", "last", "verdict"),
    [
        (True, False, True, 7, 6, Verdict.WELCOME),
        (True, False, True, 7, 7, Verdict.REPLAYED_CODE),
        (True, False, True, 7, 8, Verdict.REPLAYED_CODE),
        (True, False, True, None, 6, Verdict.WRONG_CODE),
        (True, False, False, 7, 6, Verdict.WRONG_PASSWORD),
        (True, True, True, 7, 6, Verdict.LOCKED),
        (False, False, False, None, 0, Verdict.UNKNOWN),
    ],
)
def test_verdicts(
    known: bool, locked: bool, password: bool, step: int | None, last: int, verdict: Verdict
) -> None:
    found = login.judge(known=known, locked=locked, password_fits=password, step=step, last_step=last)
    assert found is verdict


def test_five_failures_bring_the_pause_and_the_pause_brings_none() -> None:
    assert [login.is_pause_due(count) for count in (4, 5)] == [False, True]
    assert not login.counts_as_failure(Verdict.LOCKED)
    assert not login.counts_as_failure(Verdict.WELCOME)
    assert login.counts_as_failure(Verdict.REPLAYED_CODE)
