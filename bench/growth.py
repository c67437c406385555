"""How a read grows with its table, and a page with its depth: two stacks side by side, in interleaved rounds."""

import argparse
import json
import statistics
import urllib.request
from typing import Any
from urllib.parse import quote

from bench.records import measured, spread
from bench.stack import Stack, running

DEPTH = 90_000
_PAGE = 1_000
_FIRST = "limit=100&sort=created_at"


def main() -> None:
    """Print p50 and p99 of a small and a large table, and the ratio of the p50s: median (lowest-highest)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    args = parser.parse_args()
    print(f"growth: {args.rounds} rounds of {args.seconds} s a side, one connection")
    with running(args.small, with_twin=False) as small, running(args.large, with_twin=False) as large:
        deep = f"{_FIRST}&cursor={quote(_cursor_at(large, DEPTH))}"
        for title, one, other in (
            (f"get: {args.large:,} : {args.small:,} rows", _spec(large, "get"), _spec(small, "get")),
            (
                f"first page: {args.large:,} : {args.small:,} rows",
                _spec(large, "page", _FIRST),
                _spec(small, "page", _FIRST),
            ),
            (
                f"page at {DEPTH:,} : first page, {args.large:,} rows",
                _spec(large, "page", deep),
                _spec(large, "page", _FIRST),
            ),
        ):
            print(_line(title, one, other, args.rounds, args.seconds), flush=True)


def _line(title: str, one: dict[str, Any], other: dict[str, Any], rounds: int, seconds: float) -> str:
    pairs = []
    for n in range(rounds):
        sides = [("one", one), ("other", other)]
        found = {
            name: measured("bench.load", spec | {"seconds": seconds})
            for name, spec in (sides if n % 2 else reversed(sides))
        }
        pairs.append((found["one"], found["other"]))
    ratios = sorted(mine["p50_ms"] / theirs["p50_ms"] for mine, theirs in pairs)
    cells = "".join(
        f"{statistics.median(side[name] for side in sides):>9.2f}"
        for sides in zip(*pairs, strict=True)
        for name in ("p50_ms", "p99_ms")
    )
    return f"{title:48}{spread(ratios)}  p50 and p99 ms, of each:{cells}"


def _spec(stack: Stack, operation: str, query: str = "") -> dict[str, Any]:
    return {
        "operation": operation,
        "connections": 1,
        "ids": stack.record_ids,
        "path": stack.path,
        "port": stack.port,
        "secret": stack.secret,
        "query": query,
    }


def _cursor_at(stack: Stack, depth: int) -> str:
    """Walk to where a page at `depth` begins."""
    cursor = ""
    for _ in range(depth // _PAGE):
        query = f"limit={_PAGE}&sort=created_at&fields=Count{f'&cursor={quote(cursor)}' if cursor else ''}"
        request = urllib.request.Request(
            f"http://127.0.0.1:{stack.port}{stack.path}?{query}",
            headers={"Authorization": f"Bearer {stack.secret}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            cursor = json.load(answer)["next_cursor"]
    return cursor


if __name__ == "__main__":
    main()
