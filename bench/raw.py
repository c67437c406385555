"""The other side: asyncpg alone doing `rls3`, without HTTP, token check, fence, change log or idempotency.

BEGIN, SET LOCAL ROLE and the claims go as one simple message, then the prepared statement, then COMMIT.
"""

import asyncio
import json
import random
import sys
import time
from datetime import datetime
from typing import Any

import asyncpg
import uvloop

from bench.load import percentiles
from bench.stack import values
from core import ids


async def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Run for `seconds` on `connections` connections; returns operations a second, p50 and p99 in ms."""
    conns = [await asyncpg.connect(spec["dsn"]) for _ in range(spec["connections"])]
    statements = [await _prepared(conn, spec) for conn in conns]
    started = time.perf_counter()
    deadline = started + spec["seconds"]
    found = await asyncio.gather(
        *(_worker(conn, statement, spec, deadline) for conn, statement in zip(conns, statements, strict=True))
    )
    took = time.perf_counter() - started
    for conn in conns:
        await conn.close()
    latencies = sorted(latency for each in found for latency in each)
    return {"per_s": len(latencies) / took, **percentiles(latencies), "failures": []}


async def _prepared(conn: asyncpg.Connection, spec: dict[str, Any]) -> Any:
    await conn.execute(spec["enter"])
    statement = await conn.prepare(spec["sql"])
    await conn.execute("commit")
    return statement


async def _worker(
    conn: asyncpg.Connection, statement: Any, spec: dict[str, Any], deadline: float
) -> list[float]:
    enter, operation, known = spec["enter"], spec["operation"].removesuffix("_keyed"), spec["ids"]
    batch = [values(n) for n in range(100)]
    count = random.randrange(10**6)
    latencies = []
    while (now := time.perf_counter()) < deadline:
        count += 1
        match operation:
            case "get":
                args: tuple[Any, ...] = (random.choice(known),)
            case "list_100":
                _, created_at, record_id = random.choice(spec["pages"])
                args = (datetime.fromisoformat(created_at), record_id)
            case "list_100_same":
                args = ()
            case "create_1":
                args = (json.dumps([{"id": ids.new(), **values(count)}]),)
            case "create_100":
                made = zip(ids.batch(ids.new(), len(batch)), batch, strict=True)
                args = (json.dumps([{"id": record_id, **fields} for record_id, fields in made]),)
            case _:
                args = (random.choice(known), count)
        await conn.execute(enter)
        await statement.fetch(*args)
        await conn.execute("commit")
        latencies.append(time.perf_counter() - now)
    return latencies


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
