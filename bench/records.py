"""The Data API over HTTP, one process, against raw asyncpg on the same table: interleaved rounds, and their ratio.

The API side checks token and body, enters the tenant (fence, role, claims, RLS), writes the change row and, where
the line says so, the idempotency row. The raw side does RLS by role and claims in three trips and writes neither.
"""

import argparse
import json
import statistics
import subprocess
import sys
import urllib.request
from typing import Any

from bench.stack import ROOT, Stack, running
from db.data import names

OPERATIONS = (
    "get",
    "list_100",
    "list_100_same",
    "create_1",
    "create_1_keyed",
    "create_100",
    "update",
    "update_keyed",
)


def main() -> None:
    """Print, per operation and concurrency, both sides' figures and the ratio: median (lowest-highest)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 1, 64])
    parser.add_argument("--operations", nargs="+", default=list(OPERATIONS), choices=OPERATIONS)
    args = parser.parse_args()
    print(
        f"records: {args.rounds} rounds of {args.seconds} s a side, {args.rows} rows; load by asyncio + httptools"
    )
    sides = "".join(f"{side:>8}{'p50 ms':>8}{'p99 ms':>8}" for side in ("API/s", "rls3/s"))
    print(f"{'operation':16}{'c':>3}  {'ratio API : rls3':20}{sides}")
    with running(args.rows) as stack:
        pages = pages_of(stack)
        for connections in args.connections:
            for operation in args.operations:
                print(_line(stack, pages, operation, connections, args.rounds, args.seconds), flush=True)


def pages_of(stack: Stack) -> list[tuple[str, str, str]]:
    """Walk the table: where each page but the first begins, as the API says it and as raw SQL does."""
    pages: list[tuple[str, str, str]] = []
    cursor = ""
    while True:
        address = f"http://127.0.0.1:{stack.port}{stack.path}?limit=100&sort=created_at{cursor}"
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {stack.secret}"})
        with urllib.request.urlopen(request) as answer:
            page = json.load(answer)
        if page["next_cursor"] is None:
            return pages
        last = page["records"][-1]
        pages.append((page["next_cursor"], last["created_at"], last["id"]))
        cursor = f"&cursor={page['next_cursor']}"


def _line(
    stack: Stack,
    pages: list[tuple[str, str, str]],
    operation: str,
    connections: int,
    rounds: int,
    seconds: float,
) -> str:
    spec = {
        "pages": pages,
        "operation": operation,
        "connections": connections,
        "seconds": seconds,
        "ids": stack.record_ids[:10_000],
    }
    api = spec | {"path": stack.path, "port": stack.port, "secret": stack.secret}
    raw = spec | {"dsn": stack.dsn("data_api", "data"), "enter": _enter(stack), "sql": _sql(stack, operation)}
    measured("bench.load", api | {"seconds": 0.5})
    pairs = []
    for n in range(rounds):
        sides = [("bench.load", api), ("bench.raw", raw)]
        found = {module: measured(module, each) for module, each in (sides if n % 2 else reversed(sides))}
        pairs.append((found["bench.load"], found["bench.raw"]))
    ratios = sorted(mine["per_s"] / theirs["per_s"] for mine, theirs in pairs)
    figures = [
        statistics.median(side[name] for side in sides)
        for sides in zip(*pairs, strict=True)
        for name in ("per_s", "p50_ms", "p99_ms")
    ]
    ratio = spread(ratios)
    cells = "".join(f"{figures[n]:>8.0f}{figures[n + 1]:>8.2f}{figures[n + 2]:>8.2f}" for n in (0, 3))
    return f"{operation:16}{connections:>3}  {ratio:20}{cells}"


def spread(ratios: list[float]) -> str:
    """Return the median of sorted ratios, with the lowest and the highest."""
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"


def measured(module: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Run one side in a process of its own; raises RuntimeError where a request failed."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(spec),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    if found["failures"]:
        raise RuntimeError(f"{module}: {spec['operation']}: {found['failures']}")
    return found


def _enter(stack: Stack) -> str:
    claims = f"{stack.tenant_id} {stack.workspace_id} {stack.base_id} editor"
    return f"begin; set local role {names.role(stack.tenant_id)}; select set_config('pb.claims', '{claims}', true)"


def _sql(stack: Stack, operation: str) -> str:
    fields = stack.table.fields
    columns = ", ".join(f'"f_{f.id}"' for f in fields)
    everything = f"id, created_at, updated_at, version, {columns}"
    match operation.removesuffix("_keyed"):
        case "get":
            return f"select {everything} from {stack.physical} where id = $1"
        case "list_100":
            return (
                f"select {everything} from {stack.physical} where (created_at, id) > ($1, $2)"
                " order by created_at, id limit 100"
            )
        case "list_100_same":
            return f"select {everything} from {stack.physical} order by created_at, id limit 100"
        case "update":
            count = next(f for f in fields if f.name == "Count")
            return (
                f'update {stack.twin} set "f_{count.id}" = $2, version = version + 1, updated_at = now()'
                f" where id = $1 returning {everything}"
            )
        case _:
            shape = ", ".join(f'"{f.name}" {f.kind.cast}' for f in fields)
            given = ", ".join(f'e."{f.name}"' for f in fields)
            return (
                f"insert into {stack.twin} (id, {columns}) select e.id, {given}"
                f" from jsonb_to_recordset($1::text::jsonb) as e(id text, {shape}) returning {everything}"
            )


if __name__ == "__main__":
    main()
