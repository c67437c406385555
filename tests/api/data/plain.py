"""What filters mean, in plain Python, and both of their spellings: a tree is a tuple."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from core.filter.dates import relative

MATCHES = ("contains", "starts_with", "ends_with", "ieq", "icontains", "istarts_with", "iends_with")


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def compact(tree: Any) -> str:
    match tree:
        case ("and" | "or" as group, list(parts)):
            return f"{group}({','.join(map(compact, parts))})"
        case ("not", part):
            return f"not({compact(part)})"
        case (name, "is", test):
            return f"{quoted(name)}.is.{test}"
        case (name, operator, list(values)):
            return f"{quoted(name)}.{operator}.({','.join(map(_word, values))})"
        case (name, operator, value):
            return f"{quoted(name)}.{operator}.{_word(value)}"
    raise AssertionError(tree)


def _word(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else quoted(str(value))


def as_json(tree: Any) -> Any:
    match tree:
        case ("and" | "or" as group, list(parts)):
            return {group: [as_json(part) for part in parts]}
        case ("not", part):
            return {"not": as_json(part)}
        case (name, operator, value):
            return {"field": name, "op": operator, "value": value}
    raise AssertionError(tree)


def plain(name: str, value: Any) -> Any:
    """What Python compares."""
    if name == "Amount":
        return Decimal(str(value))
    return datetime.fromisoformat(value) if name == "At" else value


def span(name: str, given: Any) -> tuple[Any, Any, bool]:
    """The lowest value that `given` means, the highest or the one after it, and which of the two that is."""
    found = relative(given, "UTC") if name in ("Due", "At") else None
    if found is None:
        return plain(name, given), plain(name, given), False
    first, end = found.bounds(datetime.now(UTC), as_moments=name == "At")
    return plain(name, first), plain(name, end), True


def matches(operator: str, mine: str, part: str) -> bool:
    if operator.startswith("i"):
        mine, part, operator = mine.casefold(), part.casefold(), operator[1:]
    tests = {"contains": part in mine, "starts_with": mine.startswith(part), "ends_with": mine.endswith(part)}
    return tests.get(operator, mine == part)


def searched(mine: str, query: str) -> bool:
    have = {word.lower() for word in re.findall(r"\w+", mine)}
    return all((word.lstrip("-").lower() in have) != word.startswith("-") for word in query.split())


def holds(tree: Any, fields: dict[str, Any]) -> bool:
    """The plain meaning: of an empty field a comparison is false, and what denies is true."""
    match tree:
        case ("and", list(parts)):
            return all(holds(part, fields) for part in parts)
        case ("or", list(parts)):
            return any(holds(part, fields) for part in parts)
        case ("not", part):
            return not holds(part, fields)
        case (name, "is", test):
            return (fields[name] is None) == (test == "null")
        case (name, "ne", given):
            return not holds((name, "eq", given), fields)
        case (name, "not_in", given):
            return not holds((name, "in", given), fields)
        case (name, "has_none", given):
            return not holds((name, "has_any", given), fields)
    name, operator, given = tree
    if fields[name] is None:
        return False
    mine = plain(name, fields[name])
    if name == "Tags":
        tests = {
            "eq": set(mine) == set(given),
            "has_any": bool(set(mine) & set(given)),
            "has_all": set(mine) >= set(given),
        }
        return tests[operator]
    if operator in MATCHES:
        return matches(operator, mine, given)
    if operator == "search":
        return searched(mine, given)
    if operator == "in":
        return any(holds((name, "eq", one), fields) for one in given)
    if operator == "between":
        return holds((name, "gte", given[0]), fields) and holds((name, "lte", given[1]), fields)
    first, last, is_open = span(name, given)
    at_most = mine < last if is_open else mine <= last
    return bool({
        "eq": mine >= first and at_most,
        "within": mine >= first and at_most,
        "lt": mine < first,
        "lte": at_most,
        "gt": not at_most,
        "gte": mine >= first,
    }[operator])  # fmt: skip
