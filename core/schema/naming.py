"""What a name may be, and when two names are one."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_CHARS = 100
# Control characters, line separators, unpaired surrogates; and the marks that make text read backwards.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def _readable(name: str) -> str:
    if _FORBIDDEN.search(name):
        raise ValueError("a name has no control characters")
    if name != name.strip():
        raise ValueError("a name has no space at either end")
    return name


Name = Annotated[str, Field(min_length=1, max_length=MAX_CHARS), AfterValidator(_readable)]
"""1 to 100 characters that a person can read."""


def fold(name: str) -> str:
    """Return what two names share that count as one: case and the way letters are composed do not matter."""
    # Python folds a dotted capital I to two characters where PostgreSQL's lower() may give one.
    return unicodedata.normalize("NFC", name.replace("İ", "i").casefold())
