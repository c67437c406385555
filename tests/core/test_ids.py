"""Ids: one spelling, and no two requests whose ids or batches meet."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from core import ids


def test_ids_are_ulids_in_one_spelling() -> None:
    for _ in range(500):
        made = ids.new()
        assert ids.is_ulid(made)
        assert str(ULID.from_str(made.upper())).lower() == made


@pytest.mark.parametrize(
    "change", [str.upper, "{}\n".format, " {}".format, "{}0".format, lambda made: made[1:]]
)
def test_another_spelling_is_no_id(change: Callable[[str], str]) -> None:
    assert not ids.is_ulid(change(ids.new()))


def test_ids_of_one_millisecond_are_far_apart() -> None:
    """A batch counts up from its request's id: another request's must not stand in its way."""
    made = sorted(int(ULID.from_str(ids.new().upper())) for _ in range(5_000))
    gaps = [b - a for a, b in pairwise(made)]
    assert min(gaps) > 10_000


@given(st.integers(0, 2**127), st.integers(1, 1_500))
def test_a_batch_counts_up(value: int, count: int) -> None:
    first = ids.parse(str(ULID.from_int(value)).lower())
    made = ids.batch(first, count)
    assert [int(ULID.from_str(each.upper())) for each in made] == list(range(value, value + count))
    assert made == sorted(made)
