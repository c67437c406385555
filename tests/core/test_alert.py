"""When an alert opens, worsens, is acknowledged and ends."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import alert
from core.alert import Live, Observation
from core.ids import Ulid, new

WALLET = Ulid("01kb0000000000000000000008")
KEYS = ("RUNS_THRESHOLD/2026-11", "STORAGE_THRESHOLD/2026-11", "WALLET_LOW_BALANCE/x")


def seen(key: str, severity: alert.Severity) -> Observation:
    kind: alert.Kind = key.split("/")[0]  # type: ignore[assignment]
    return Observation(kind, severity, key)


def live(key: str, severity: alert.Severity, status: alert.Status = "open") -> Live:
    kind: alert.Kind = key.split("/")[0]  # type: ignore[assignment]
    return Live(new(), kind, severity, status, key)


@pytest.mark.parametrize(
    ("value", "limit", "severity"),
    [
        ("799", "1000", None),
        ("800", "1000", "warning"),
        ("999.999", "1000", "warning"),
        ("1000", "1000", "critical"),
        ("5000", "1000", "critical"),
        ("0", "0", None),
        ("1", "0", "critical"),
        ("1", None, None),
    ],
)
def test_a_share_of_the_limit_decides(value: str, limit: str | None, severity: str | None) -> None:
    found = alert.threshold("runs_used", "2026-11", Decimal(value), Decimal(limit) if limit else None)
    assert (found.severity if found else None) == severity
    if found:
        assert found.kind == "RUNS_THRESHOLD"
        assert found.dedupe_key == "RUNS_THRESHOLD/2026-11"


def test_what_is_stored_is_one_alert_over_the_months() -> None:
    keys = set()
    for window in ("2026-11", "2026-12"):
        for metric in ("storage_gb", "runs_used"):
            found = alert.threshold(metric, window, Decimal(9), Decimal(10))
            assert found is not None
            keys.add(found.dedupe_key)
    assert keys == {"STORAGE_THRESHOLD", "RUNS_THRESHOLD/2026-11", "RUNS_THRESHOLD/2026-12"}


def test_api_calls_have_no_threshold_of_the_plan() -> None:
    assert alert.threshold("api_calls", "2026-11", Decimal(10), Decimal(1)) is None


@pytest.mark.parametrize(
    ("balance", "threshold", "unpaid", "severity"),
    [
        (100, 100, 0, None),
        (99, 100, 0, "warning"),
        (0, 0, 0, None),
        (0, 0, 1, "critical"),
        (500, 100, 7, "critical"),
    ],
)
def test_a_low_balance_warns_and_an_unpaid_one_is_critical(
    balance: int, threshold: int, unpaid: int, severity: str | None
) -> None:
    found = alert.low_balance(WALLET, balance, threshold, unpaid)
    assert (found.severity if found else None) == severity


def test_the_first_sight_opens_and_is_news() -> None:
    (change,) = alert.decide([], [seen(KEYS[0], "warning")])
    assert (change.do, change.is_news, alert.status_after(change)) == ("open", True, "open")


def test_seen_again_is_no_news_and_an_acknowledged_one_stays_so() -> None:
    (change,) = alert.decide([live(KEYS[0], "warning", "ack")], [seen(KEYS[0], "warning")])
    assert (change.do, change.is_news, alert.status_after(change)) == ("see", False, "ack")


def test_worse_is_news_and_opens_what_was_acknowledged() -> None:
    (change,) = alert.decide([live(KEYS[0], "warning", "ack")], [seen(KEYS[0], "critical")])
    assert (change.do, change.is_news, alert.status_after(change)) == ("see", True, "open")


def test_better_but_not_well_is_no_news() -> None:
    (change,) = alert.decide([live(KEYS[0], "critical", "ack")], [seen(KEYS[0], "warning")])
    assert (change.do, change.is_news, alert.status_after(change)) == ("see", False, "ack")


def test_what_is_not_seen_any_more_has_ended_unless_nobody_looked() -> None:
    gone, foreign = live(KEYS[0], "warning", "ack"), live("REFILL_FAILED/x", "critical")
    (change,) = alert.decide([gone, foreign], [])
    assert (change.do, change.live, alert.status_after(change)) == ("resolve", gone, "resolved")


@given(
    st.dictionaries(
        st.sampled_from(KEYS), st.tuples(st.sampled_from(["warning", "critical"]), st.booleans())
    ),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["warning", "critical"])),
)
def test_after_a_cycle_what_is_live_is_what_was_seen_and_a_second_cycle_tells_nobody(
    before: dict[str, tuple[alert.Severity, bool]], now: dict[str, alert.Severity]
) -> None:
    alerts = [live(key, severity, "ack" if acked else "open") for key, (severity, acked) in before.items()]
    observations = [seen(key, severity) for key, severity in now.items()]
    changes = alert.decide(alerts, observations)
    after = [
        Live(new(), change.seen.kind, change.seen.severity, alert.status_after(change), change.dedupe_key)
        for change in changes
        if change.seen is not None
    ]
    assert {each.dedupe_key: each.severity for each in after} == now
    again = alert.decide(after, observations)
    assert [(each.do, each.is_news) for each in again] == [("see", False)] * len(now)


@pytest.mark.parametrize(
    ("least", "severity", "hears"),
    [
        ("info", "info", True),
        ("warning", "info", False),
        ("warning", "critical", True),
        ("critical", "warning", False),
    ],
)
def test_a_channel_hears_from_its_severity_up(least: str, severity: str, hears: bool) -> None:
    assert alert.hears(least, severity) is hears
