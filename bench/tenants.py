"""Many tenants on one cluster: what a get costs one of them, and what the Data API's process holds."""

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any

import asyncpg

from bench.records import measured, spread
from bench.stack import Stack, running, values
from core import ids, token
from core.schema.ops.create_table import CreateTable
from core.schema.spec import FieldSpec, TableSpec
from db.data import names, tenants
from db.data.ddl import DDL
from db.data.ddl.base import Target

_FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "Name", "type": "text", "required": True},
    {"name": "Count", "type": "integer"},
    {"name": "Due", "type": "date"},
)
_TABLES = 5
_OF_A_SESSION = 50


def main() -> None:
    """Print a get's p50 alone and among many, to one tenant and to all in turn, and the process's memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    with running(1_000, with_twin=False) as stack:
        one = {
            "operation": "get",
            "connections": 1,
            "seconds": args.seconds,
            "ids": stack.record_ids,
            "path": stack.path,
            "port": stack.port,
            "secret": stack.secret,
        }
        alone = sorted(measured("bench.load", one)["p50_ms"] for _ in range(args.rounds))
        print(f"tenants: a get's p50 alone {spread(alone)} ms; {memory_mb(stack.pid)} MB", flush=True)
        started = time.monotonic()
        targets = asyncio.run(peopled(stack, args.tenants))
        took = time.monotonic() - started
        print(f"tenants: {args.tenants} made in {took:.0f} s, {_TABLES} tables each", flush=True)
        every = one | {"operation": "get_of_many", "targets": targets}
        measured("bench.load", every | {"connections": 16, "seconds": args.seconds * 5})
        among, all_in_turn = [], []
        for _ in range(args.rounds):
            among.append(measured("bench.load", one)["p50_ms"])
            all_in_turn.append(measured("bench.load", every)["p50_ms"])
        ratios = sorted(p50 / statistics.median(alone) for p50 in among)
        print(f"tenants: one of {args.tenants} {spread(sorted(among))} ms, {spread(ratios)} of alone")
        ratios = sorted(p50 / statistics.median(alone) for p50 in all_in_turn)
        print(f"tenants: any of {args.tenants} {spread(sorted(all_in_turn))} ms, {spread(ratios)} of alone")
        print(f"tenants: the Data API's process holds {memory_mb(stack.pid)} MB")


async def peopled(stack: Stack, count: int) -> list[dict[str, str]]:
    """Make tenants with a base, some tables and a record; returns where to read each, and its token."""
    numbers, made = iter(range(count)), []

    async def some() -> None:
        # Each change of a schema looks through all plans that its session keeps: what is made would cost ever more.
        while few := list(islice(numbers, _OF_A_SESSION)):
            async with _connected(stack) as conns:
                made.extend([await _one(stack, *conns, n) for n in few])

    await asyncio.gather(some(), some())
    return made


@contextlib.asynccontextmanager
async def _connected(stack: Stack) -> AsyncIterator[list[asyncpg.Connection]]:
    where = (("control_owner", "control"), ("tenants_worker", "data"), ("data_owner", "data"))
    conns = [await asyncpg.connect(stack.dsn(*each)) for each in where]
    try:
        yield conns
    finally:
        for conn in conns:
            await conn.close()


async def _one(
    stack: Stack,
    control: asyncpg.Connection,
    homes: asyncpg.Connection,
    data: asyncpg.Connection,
    n: int,
) -> dict[str, str]:
    secret = token.make()
    tenant_id, workspace_id, base_id, record_id = (ids.new() for _ in range(4))
    target = Target(tenant_id, workspace_id, base_id, 1, 1)
    async with homes.transaction():
        await tenants.create_home(homes, tenant_id, ids.new(), 1)
    async with data.transaction():
        await data.execute("set local role tenant_owner")
        await data.execute(
            f"insert into {names.metadata(tenant_id, 'bases')} (id, workspace_id, name) values ($1, $2, 'B')",
            base_id, workspace_id,
        )  # fmt: skip
        for place in range(_TABLES):
            fields = tuple(FieldSpec(id=ids.new(), **field) for field in _FIELDS)
            table = TableSpec(id=ids.new(), name=f"Table {place}", fields=fields)
            for statement in DDL["create_table"].up(CreateTable(table=table, pointer=""), target):
                await data.execute(statement.text, *statement.args)
        name = names.column(str(table.fields[0].id))
        await data.execute(
            f"insert into {names.table(tenant_id, str(table.id))} (id, {name}) values ($1, $2)",
            record_id, values(n)["Name"],
        )  # fmt: skip
    async with control.transaction():
        await control.execute(
            "insert into control.tenants (id, slug, name, region, status) values ($1, $2, 'T', 'local', 'active')",
            tenant_id, f"t{n}",
        )  # fmt: skip
        await control.execute(
            "insert into gateway.placements (tenant_id, cluster_id, database, schema, region, state, generation)"
            " values ($1, 'local', 'data', $2, 'local', 'active', 1)",
            tenant_id, names.schema_name(tenant_id),
        )  # fmt: skip
        await control.execute(
            "insert into control.workspaces (id, tenant_id, name) values ($1, $2, 'W')",
            workspace_id,
            tenant_id,
        )
        await control.execute(
            "insert into control.bases (id, tenant_id, workspace_id, name) values ($1, $2, $3, 'B')",
            base_id, tenant_id, workspace_id,
        )  # fmt: skip
        await control.execute(
            "insert into control.api_tokens (id, tenant_id, hint, token_hash, scopes) values ($1, $2, $3, $4, $5)",
            ids.new(), tenant_id, secret.hint, secret.hash, ["records:read", "records:write"],
        )  # fmt: skip
    path = f"/bases/{base_id}/tables/{table.id}/records/{record_id}"
    return {"path": path, "secret": secret.secret}


def memory_mb(pid: int) -> int:
    """Return what a process holds in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1_024


if __name__ == "__main__":
    main()
