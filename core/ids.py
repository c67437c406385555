"""ULIDs in one form everywhere: 26 lower-case Crockford characters."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from typing import Annotated, NewType

from pydantic import AfterValidator, StringConstraints
from ulid import ULID

Ulid = NewType("Ulid", str)
"""A ULID as text; the same in SQL, JSON, URLs, logs and Temporal ids."""

PATTERN = "^[0-7][0-9a-hjkmnp-tv-z]{25}$"
_SHAPE = re.compile(PATTERN)

UlidStr = Annotated[str, StringConstraints(pattern=PATTERN), AfterValidator(Ulid)]
"""The pydantic form of `Ulid`: refuses any other spelling."""

_RANDOM_BITS = 80
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
"""As `int` reads base 32."""
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]


def new() -> Ulid:
    """Return a fresh ULID of the present millisecond, its random part independent of every other's.

    Not python-ulid's own `ULID()`: within a millisecond that one counts up, and so would run into `batch`.
    """
    return _encoded(now_ms() << _RANDOM_BITS | int.from_bytes(os.urandom(_RANDOM_BITS // 8)))


def is_ulid(text: str) -> bool:
    """Tell whether `text` is a ULID in our one spelling."""
    return _SHAPE.fullmatch(text) is not None


def parse(text: str) -> Ulid:
    """Return `text` as a Ulid; raises ValueError for any other spelling."""
    if not is_ulid(text):
        raise ValueError(f"not a ULID in lower case: {text[:40]!r}")
    return Ulid(text)


def batch(first: Ulid, count: int) -> list[Ulid]:
    """Return `count` ascending ULIDs, the first given, its random part counted up."""
    value = int(first.translate(_DIGITS), 32)
    last = value + count - 1
    if value >> 10 == last >> 10:  # the common case: only the last two characters differ
        return [Ulid(first[:24] + pair) for pair in _PAIRS[value & 1023 : (last & 1023) + 1]]
    return [_encoded(value + step) for step in range(count)]


def stream() -> Iterator[Ulid]:
    """Yield fresh ULIDs without end."""
    while True:
        yield new()


def derived(at_ms: int, *parts: str) -> Ulid:
    """Return the one ULID that belongs to `parts` at `at_ms` milliseconds: a repeated effect gets the same id."""
    entropy = hashlib.sha256("\x1f".join(parts).encode()).digest()[: _RANDOM_BITS // 8]
    return Ulid(str(ULID.from_bytes(at_ms.to_bytes(6, "big") + entropy)).lower())


def ms_of(ulid: Ulid) -> int:
    """Return the millisecond that a ULID was made at."""
    return int(ULID.from_str(ulid.upper()).milliseconds)


def now_ms() -> int:
    """Return the wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


def _encoded(value: int) -> Ulid:
    return Ulid("".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)]))
