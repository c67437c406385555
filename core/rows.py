"""The records of one body, each checked by itself: those that are right go on, the others are told why not."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from core.errors import Fault, Invalid
from core.schema.closed import pointer

T = TypeVar("T")

_WHOLE = frozenset({"repeated_record"})
"""What is refused of several records together, so that none of them could go on."""
# Numbers stay texts: nothing of the values is used here but where they end.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_SPACE = " \t\r\n"
_HEAD = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*\[')
_TAIL = re.compile(r"\]\s*\}\s*")
_RECORDS = pointer("records")


@dataclass(frozen=True, slots=True)
class Sifted(Generic[T]):
    """What a check made of the records that passed it, where they stand in the body, and why the others did not."""

    passed: T | None
    """None where no record passed."""
    places: Sequence[int]
    refused: Mapping[int, Invalid]


def sift(raw: bytes, check: Callable[[bytes], T], count: Callable[[T], int]) -> Sifted[T]:
    """Return what `check` makes of `{"records"}` in `raw`, without the records that it refuses one by one.

    Raises what is wrong with the body as a whole, which no record can be blamed for.
    """
    try:
        whole = check(raw)
        return Sifted(whole, range(count(whole)), {})
    except Invalid as error:
        parts = split(raw)
        if parts is None or not _is_of_records(error):
            raise
    refused: dict[int, Invalid] = {}
    for place, part in enumerate(parts):
        try:
            check(joined([part]))
        except Invalid as error:
            refused[place] = placed(error, [place])
    places = [place for place in range(len(parts)) if place not in refused]
    if not places:
        return Sifted(None, places, refused)
    try:
        return Sifted(check(joined([parts[place] for place in places])), places, refused)
    except Invalid as error:
        raise placed(error, places) from None


def split(raw: bytes) -> list[str] | None:
    """Return the texts of the records in a body of valid JSON; None where `records` is not all that it has."""
    text = raw.decode()
    head = _HEAD.match(text)
    if head is None:
        return None
    at = _skip(text, head.end())
    found = []
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        found.append(text[at:end])
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found if _TAIL.fullmatch(text, at) else None


def joined(parts: Sequence[str]) -> bytes:
    """Return the body that has these records."""
    return f'{{"records":[{",".join(parts)}]}}'.encode()


def placed(error: Invalid, places: Sequence[int]) -> Invalid:
    """Return the refusal with its pointers going into the body whose records were taken from `places`."""
    faults = tuple(Fault(_placed(f.pointer, places), f.code, f.detail) for f in error.faults)
    detail = f"{faults[0].pointer or 'the body'}: {faults[0].detail}" if faults else error.detail
    return Invalid(detail, faults, code=error.reason)


def refuse_keyless(records: Sequence[Mapping[str, Any]], name: str, *, one: bool) -> None:
    """Raise Invalid where a record has no value in the field to merge on."""
    detail = f"{name!r} is the field to merge on: it may not be empty"
    faults = [
        Fault(pointer(*(() if one else ("records", n)), "fields", name), "required", detail)
        for n, record in enumerate(records)
        if record["fields"].get(name) is None
    ]
    if faults:
        raise Invalid(f"{faults[0].pointer}: {detail}", tuple(faults))


def _is_of_records(error: Invalid) -> bool:
    return bool(error.faults) and all(
        f.pointer.startswith(_RECORDS + "/") and f.code not in _WHOLE for f in error.faults
    )


def _placed(where: str, places: Sequence[int]) -> str:
    if not where.startswith(_RECORDS + "/"):
        return where
    n, slash, rest = where.removeprefix(_RECORDS + "/").partition("/")
    return f"{_RECORDS}/{places[int(n)]}{slash}{rest}"


def _skip(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
