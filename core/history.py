"""What is asked of the past: the moment that `as_of` names, and how a change log's answers are bounded."""

from pydantic import ValidationError

from core.record import refusal
from core.schema.types import TYPES, Options, check_operand

DEFAULT_ENTRIES = 20
MAX_ENTRIES = 100
"""How many changes a page of a history has: each holds a record twice."""
_FORM = "a moment with its offset, such as 2026-11-24T12:00:00Z (in an address a plus is written %2B)"


def moment(text: str) -> str:
    """Return the moment that `as_of` names, fit for PostgreSQL's timestamptz; refuses any other text."""
    try:
        return check_operand(TYPES["datetime"], Options(), text)
    except ValidationError:
        raise refusal("as_of", "invalid_time", _FORM) from None
