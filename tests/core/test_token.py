"""Tokens: a shape that scanners find, a checksum that slips do not pass, a hash that gives nothing away."""

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from core import token


def test_a_token_has_one_shape_and_is_like_no_other() -> None:
    made = [token.make() for _ in range(200)]
    assert len({m.secret for m in made}) == len({m.hash for m in made}) == 200
    for each in made:
        assert re.fullmatch("pb_[0-9A-Za-z]{49}", each.secret)
        assert token.is_well_formed(each.secret)
        assert each.hash == hashlib.sha256(each.secret.encode()).hexdigest() == token.digest(each.secret)
        assert each.hint == each.secret[:8]
        assert each.secret not in (each.hash, each.hint)


@given(st.integers(0, 51), st.characters(codec="utf-8"))
def test_no_single_slip_passes_the_checksum(place: int, char: str) -> None:
    secret = token.make().secret
    slipped = secret[:place] + char + secret[place + 1 :]
    assert token.is_well_formed(slipped) == (slipped == secret)


@given(st.text(max_size=80) | st.from_regex("pb_[0-9A-Za-z]{49}", fullmatch=True))
def test_what_was_not_made_here_is_no_token(text: str) -> None:
    # One in 2^32 would be, which no run of this test meets.
    assert not token.is_well_formed(text)
