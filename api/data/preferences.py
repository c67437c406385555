"""The Prefer header of a write (RFC 7240): what is not known is ignored, or refused by who asks for it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from core.body import MAX_RECORDS
from core.errors import BadRequest, Fault
from core.schema.closed import nearest

_NAMES = ("tx", "handling", "max-affected")
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
# A name, perhaps a value, and parameters, of which none is known.
_PREFERENCE = re.compile(
    rf"[ \t]*({_WORD})(?:[ \t]*=[ \t]*(?:{_QUOTED}|({_WORD})?))?[ \t]*"
    r'(?:;(?:[^,"]|"(?:[^"\\]|\\.)*")*)?(?:,|$)'
)
_EMPTY = re.compile(r"[ \t]*,|[ \t]+$")
_COUNT = re.compile("[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a caller prefers: nothing to be kept, how many records may be affected, and nothing to be ignored."""

    is_dry: bool = False
    max_affected: int | None = None
    is_strict: bool = False

    @property
    def applied(self) -> list[tuple[bytes, bytes]]:
        """The header that tells of the dry run."""
        return [(b"preference-applied", b"tx=rollback")] if self.is_dry else []


NONE = Preferences()


def read(lines: Iterable[bytes]) -> Preferences:
    """Return what the header's lines say together; of a preference that comes twice the first counts."""
    text = ",".join(line.decode("latin-1") for line in lines)
    given: dict[str, str] = {}
    ignored: list[str] = []
    at = 0
    while at < len(text):
        if (empty := _EMPTY.match(text, at)) is not None:
            at = empty.end()
            continue
        found = _PREFERENCE.match(text, at)
        if found is None:
            ignored.append(text[at : at + 100])
            break
        at = found.end()
        name = found[1].lower()
        if name in given:
            continue
        given[name] = (found[2] if found[2] is not None else found[3] or "").lower()
        if not _is_known(name, given[name]):
            ignored.append(name)
    is_strict = given.get("handling") == "strict"
    if is_strict and ignored:
        name = ignored[0]
        value = given.get(name, "")[:100]
        detail = (
            f"{name} cannot be {value!r}" if name in _NAMES else nearest("preference", name[:100], _NAMES)
        )
        raise BadRequest(f"Prefer: {detail}", (Fault("Prefer", "unknown_preference", detail),))
    most = given.get("max-affected", "")
    return Preferences(given.get("tx") == "rollback", count(most), is_strict)


def count(text: str) -> int | None:
    """Return the number of records that may be affected at most; None for what is no such number."""
    return int(text) if _COUNT.fullmatch(text) and int(text) <= MAX_RECORDS else None


def _is_known(name: str, value: str) -> bool:
    match name:
        case "tx":
            return value in ("commit", "rollback")
        case "handling":
            return value in ("strict", "lenient")
        case "max-affected":
            return count(value) is not None
        case _:
            return False
