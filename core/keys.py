"""Keys of JSON objects: readers disagree on which of two equal ones counts, so there may not be two."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from core.errors import BadRequest, Fault, Invalid
from core.schema.closed import pointer


def refuse_repeated(raw: bytes) -> None:
    """Raise Invalid, with its pointer, where a key stands twice in one object of the JSON in `raw`."""
    repeated: dict[int, tuple[dict[str, Any], str]] = {}

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            # Kept, so that no other object gets its id.
            repeated[id(found)] = found, _twice(pairs)
        return found

    try:
        value = json.loads(raw, object_pairs_hook=made)
    except RecursionError:
        detail = "the body is nested too deep"
        raise BadRequest(detail, (Fault("", "unreadable", detail),)) from None
    if repeated:
        place = _place(value, repeated)
        detail = f"the key {str(place[-1])[:100]!r} stands twice in one object"
        raise Invalid(detail, (Fault(pointer(*place), "duplicate_key", detail),))


def _twice(pairs: list[tuple[str, Any]]) -> str:
    times = Counter(name for name, _ in pairs)
    return next(name for name, _ in pairs if times[name] > 1)


def _place(value: Any, repeated: dict[int, tuple[dict[str, Any], str]]) -> list[str | int]:
    """Return the way to the first repeated key that can still be reached: an outer one may hide an inner one."""
    way: list[str | int] = []
    levels: list[Iterator[tuple[str | int, Any]]] = [iter(enumerate([value]))]
    while levels:
        for name, node in levels[-1]:
            if id(node) in repeated:
                return [*way, name, repeated[id(node)][1]][1:]
            if node and isinstance(node, dict | list):
                way.append(name)
                levels.append(iter(node.items() if isinstance(node, dict) else enumerate(node)))
                break
        else:
            levels.pop()
            way = way[:-1]
    raise AssertionError("an object that holds a key twice was neither reached nor hidden by another")
