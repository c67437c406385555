"""Twice the load that the process can carry: the surplus is told at once, and another tenant hardly notices."""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import Any

from bench.records import measured
from bench.stack import ROOT, running
from bench.tenants import memory_mb, peopled


def main() -> None:
    """Print what one process carries, what becomes of twice as much, and what another tenant sees meanwhile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=900)
    args = parser.parse_args()
    with running(10_000, with_twin=False) as stack:
        (other,) = asyncio.run(peopled(stack, 1))
        flood = {
            "operation": "get",
            "ids": stack.record_ids,
            "path": stack.path,
            "port": stack.port,
            "secret": stack.secret,
        }
        victim = flood | {"operation": "get_of_many", "targets": [other], "connections": 1, "rate": 50}
        quiet = measured("bench.load", victim | {"seconds": args.seconds / 3})
        carried = statistics.median(
            measured("bench.load", flood | {"connections": 32, "seconds": 3.0})["per_s"] for _ in range(3)
        )
        print(
            f"overload: one process carries {carried:.0f} gets/s; another tenant's p99 alone {quiet['p99_ms']:.2f} ms"
        )
        before_mb = memory_mb(stack.pid)
        flooding = _started(
            flood | {"connections": args.connections, "rate": 2 * carried, "seconds": args.seconds}
        )
        time.sleep(2)
        seen = measured("bench.load", victim | {"seconds": args.seconds / 2})
        found = _ended(flooding)
        print(
            f"overload: twice that for {args.seconds:.0f} s:"
            f" {_told(found, '')} answered, {_told(found, 'shed_')} refused"
        )
        print(
            f"overload: meanwhile another tenant's p99 {seen['p99_ms']:.2f} ms,"
            f" {seen['p99_ms'] / quiet['p99_ms']:.1f} times; refused {seen['shed_per_s']:.1f}/s"
        )
        print(f"overload: the process held {before_mb} MB before and {memory_mb(stack.pid)} MB after")


def _told(found: dict[str, Any], which: str) -> str:
    p50, p99 = found[f"{which}p50_ms"], found[f"{which}p99_ms"]
    return f"{found[f'{which}per_s']:.0f}/s (p50 {p50:.0f}, p99 {p99:.0f} ms)"


def _started(spec: dict[str, Any]) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    if process.stdin is not None:
        process.stdin.write(json.dumps(spec))
        process.stdin.close()
    return process


def _ended(process: "subprocess.Popen[str]") -> dict[str, Any]:
    text = process.stdout.read() if process.stdout is not None else ""
    if process.wait() != 0:
        raise RuntimeError("the flood failed")
    found: dict[str, Any] = json.loads(text)
    return found


if __name__ == "__main__":
    main()
