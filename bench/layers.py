"""Where the microseconds of a request go, layer by layer: a table, and the picture docs/layers.svg.

Three runs per operation, so that none disturbs another: the CPU that each process took; stacks of the Data API's
process, sampled by py-spy; the times of PostgreSQL's functions. The first tells how many microseconds there are, the
other two whose they are.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import asyncpg

from bench import layers_split as split
from bench.layers_picture import drawn
from bench.layers_split import GROUPS, Cpu
from bench.records import measured, pages_of
from bench.stack import ROOT, Stack, running

OPERATIONS = {
    "get": "get",
    "list_100": "list of 100",
    "create_1_keyed": "create",
    "update_keyed": "update",
}
_PROCESSES = """
select pid, case when backend_type <> 'client backend' then 'background'
                 when datname = 'data' then 'backends' else 'log rows' end
  from pg_stat_activity where pid <> pg_backend_pid()"""
_COUNTED = """
select coalesce((select jsonb_object_agg(funcname, self_time)::text from pg_stat_user_functions), '{}'), active_time
  from pg_stat_database where datname = 'data'"""
# A backend keeps to itself what it counted last, for seconds where it is idle, but not beyond its end.
_END = """
select pg_terminate_backend(pid, 5000) from pg_stat_activity
 where datname = 'data' and backend_type = 'client backend'"""
# Without waiting for the disk, a backend that is active works or stands in line for a core.
_COUNT = ("alter system set track_functions = 'all'", "alter system set synchronous_commit = 'off'")
_RATE = 400
_WARM_S = 1.0
_SETTLE_S = 0.8
"""Longer than the access log waits before it writes what it has."""


def main() -> None:
    """Print the table, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each of the three runs per operation")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "layers.svg")
    args = parser.parse_args()
    if not Path("/proc/self/schedstat").exists():
        raise SystemExit("layers: needs Linux, which tells in /proc what CPU each process took")
    with running(args.rows, with_twin=False) as stack:
        pages = pages_of(stack)
        specs = {name: _spec(stack, name, pages, args.connections, args.seconds) for name in OPERATIONS}
        spent = {name: _spent(stack, spec) for name, spec in specs.items()}
        stacks = {name: _sampled(stack, spec) for name, spec in specs.items()}
        _asked(stack, *_COUNT, "select pg_reload_conf()")
        counted = {name: _counted(stack, spec) for name, spec in specs.items()}
    found = {
        title: _shared_out(*spent[name], stacks[name], *counted[name]) for name, title in OPERATIONS.items()
    }
    print(_table(found, args.connections))
    args.picture.write_text(drawn(found))


def _spec(
    stack: Stack, operation: str, pages: list[tuple[str, str, str]], connections: int, seconds: float
) -> dict[str, Any]:
    return {
        "operation": operation,
        "connections": connections,
        "seconds": seconds,
        "ids": stack.record_ids[:10_000],
        "pages": pages,
        "path": stack.path,
        "port": stack.port,
        "secret": stack.secret,
    }


def _spent(stack: Stack, spec: dict[str, Any]) -> tuple[float, dict[str, Cpu]]:
    """Return the CPU of a request, with nobody looking on: the load generator's in µs, and each kind of process's."""
    measured("bench.load", spec | {"seconds": _WARM_S})
    time.sleep(_SETTLE_S)
    before = _taken(stack)
    found = measured("bench.load", spec)
    time.sleep(_SETTLE_S)
    # What went in between is not counted, and what came, whole.
    after = _taken(stack)
    requests = found["per_s"] * spec["seconds"]
    sums: dict[str, Counter[str]] = {}
    for pid, (kind, taken) in after.items():
        _, earlier = before.get(pid, (kind, Counter[str]()))
        sums.setdefault(kind, Counter()).update({name: taken[name] - earlier[name] for name in taken})
    return found["cpu_us"], {kind: _cpu(taken, requests) for kind, taken in sums.items()}


def _cpu(taken: Counter[str], requests: float) -> Cpu:
    # The one figure is exact; how much of it was the kernel's is known by ticks.
    kernel = taken["system"] / max(1, taken["user"] + taken["system"])
    each_us = taken["ns"] / 1_000 / requests
    return Cpu(each_us * (1 - kernel), each_us * kernel)


def _taken(stack: Stack) -> dict[int, tuple[str, Counter[str]]]:
    """Return what the Data API's process and each of PostgreSQL's have taken since they began, by pid."""
    found = {}
    for pid, kind in ((stack.pid, "api"), *_asked(stack, _PROCESSES)):
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            found[pid] = kind, _taken_by(Path(f"/proc/{pid}"))
    return found


def _taken_by(process: Path) -> Counter[str]:
    ticks = (process / "stat").read_text().rpartition(")")[2].split()
    ran = (int((task / "schedstat").read_text().split()[0]) for task in (process / "task").iterdir())
    return Counter(ns=sum(ran), user=int(ticks[11]), system=int(ticks[12]))


def _sampled(stack: Stack, spec: dict[str, Any]) -> list[str]:
    """Return the Data API's stacks under load, each with how often it was seen."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks"
        spy = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(stack.pid)),
                *("--native", "--full-filenames", "--format", "raw", "--output", str(raw)),
                *("--rate", str(_RATE)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            # What is sampled before and after is nothing: a process that waits for requests is no sample.
            measured("bench.load", spec | {"seconds": spec["seconds"] + 1})
        finally:
            spy.send_signal(signal.SIGINT)
            _, said = spy.communicate(timeout=60)
        if not raw.exists():
            raise RuntimeError(f"py-spy, which must be allowed to trace another process: {said[-1000:]}")
        return raw.read_text().splitlines()


def _counted(stack: Stack, spec: dict[str, Any]) -> tuple[dict[str, float], float]:
    """Return how long PostgreSQL's functions took, and how long its backends were active, both in ms."""
    _asked(stack, _END)
    measured("bench.load", spec | {"seconds": _WARM_S})
    _asked(stack, "select pg_stat_reset()", database="data")
    measured("bench.load", spec)
    _asked(stack, _END)  # from elsewhere, or it would count as well
    ((self_ms, active_ms),) = _asked(stack, _COUNTED, database="data")
    return json.loads(self_ms), active_ms


def _asked(stack: Stack, *statements: str, database: str = "postgres") -> list[Any]:
    """Run statements as the superuser; returns the last one's rows."""

    async def ask() -> list[Any]:
        conn = await asyncpg.connect(stack.cluster.dsn(database))
        try:
            return [await conn.fetch(statement) for statement in statements][-1]
        finally:
            await conn.close()

    return asyncio.run(ask())


def _shared_out(
    load_us: float, cpu: Mapping[str, Cpu], stacks: list[str], self_ms: Mapping[str, float], active_ms: float
) -> dict[str, float]:
    return {
        split.LOAD: load_us,
        **split.process(stacks, str(ROOT), cpu["api"]),
        **split.backend(self_ms, active_ms, cpu["backends"]),
        split.LOG_ROWS: cpu["log rows"].total_us,
        split.BACKGROUND: cpu["background"].total_us,
    }


def _table(found: Mapping[str, Mapping[str, float]], connections: int) -> str:
    lines = [
        f"layers: µs of CPU per request at c = {connections}, create and update with a key",
        _line("", found),
    ]
    for group, layers in GROUPS.items():
        lines.append(_line(group, (f"{sum(us[layer] for layer in layers):.0f}" for us in found.values())))
        if len(layers) > 1:
            lines += [_line(f"  {layer}", (f"{us[layer]:.0f}" for us in found.values())) for layer in layers]
    return "\n".join(lines)


def _line(name: str, cells: Iterable[str]) -> str:
    return f"{name:26}" + "".join(f"{cell:>12}" for cell in cells)


if __name__ == "__main__":
    main()
