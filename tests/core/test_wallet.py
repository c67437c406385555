"""What a wallet lets happen."""

from datetime import UTC, datetime, timedelta

import pytest

from core import wallet
from core.ids import new

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_an_operation_has_one_refill() -> None:
    operation = new()
    assert wallet.refill_id(operation) == wallet.refill_id(operation)
    assert wallet.refill_id(operation) != wallet.refill_id(new())
    assert wallet.refill_id(operation)[:10] == operation[:10]


@pytest.mark.parametrize(
    ("outcomes", "waited", "allowed"),
    [
        ([], timedelta(0), True),
        (["paid"], timedelta(0), True),
        (["declined"], timedelta(hours=23), False),
        (["declined"], timedelta(days=1), True),
        (["declined", "declined"], timedelta(days=2), False),
        (["declined", "declined"], timedelta(days=3), True),
        (["declined"] * 9, timedelta(days=4), False),
        (["declined"] * 9, timedelta(days=5), True),
        (["paid", "declined", "declined"], timedelta(0), True),
        (["declined", "paid", "declined"], timedelta(days=1), True),
    ],
)
def test_after_a_decline_the_next_charge_waits(
    outcomes: list[wallet.Outcome], waited: timedelta, allowed: bool
) -> None:
    latest = [(outcome, NOW - waited - timedelta(days=n)) for n, outcome in enumerate(outcomes)]
    assert wallet.may_auto_refill(latest, NOW) is allowed


def test_low_means_below_the_threshold() -> None:
    assert wallet.is_low(99, 100)
    assert not wallet.is_low(100, 100)
    assert not wallet.is_low(0, 0)


def test_the_platforms_own_refs_are_reserved_and_a_ticket_is_not() -> None:
    assert wallet.is_reserved(wallet.usage_ref("2026-11", 1500))
    assert wallet.is_reserved(wallet.refill_ref(new()))
    assert not wallet.is_reserved("ticket/7")
    assert not wallet.is_reserved("usage-2026")


def test_a_refill_that_failed_for_good_waits_like_a_declined_one() -> None:
    paid: list[tuple[wallet.Outcome, datetime]] = [("paid", NOW - timedelta(hours=2))]
    assert not wallet.may_auto_refill(wallet.with_failed(paid, [NOW - timedelta(hours=1)]), NOW)
    assert wallet.may_auto_refill(wallet.with_failed(paid, [NOW - timedelta(hours=3)]), NOW)
