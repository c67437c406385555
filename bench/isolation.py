"""Ten thousand generated requests over HTTP that try to reach what is another's: how many were tried, and 0 leaks."""

import argparse
import asyncio
import time

import httpx

from bench.stack import Stack, running
from tests.api.data.sides import KINDS, peopled
from tests.api.data.verdicts import Intrusion, Tally
from tests.api.data.world import World
from tests.conftest import Databases

_TIMEOUT_S = 30.0


def main() -> None:
    """Print what was tried, by token and by status; fails where anything was told or changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=12)
    args = parser.parse_args()
    with running(1_000, with_twin=False) as stack:
        started = time.monotonic()
        tally = asyncio.run(_tried(stack, args.requests, args.seed))
        took_s = time.monotonic() - started
    print(f"isolation: by token {dict(sorted(tally.by_kind.items()))}")
    print(f"isolation: by status {dict(sorted(tally.by_status.items()))}")
    print(
        f"isolation: {tally.tried:,} requests to {len(tally.by_route)} routes in {took_s:.0f} s (seed {args.seed}),"
        f" {tally.twins:,} of them compared with what does not exist: {len(tally.leaks)} leaks"
    )
    if tally.leaks:
        raise SystemExit("\n\n".join(tally.leaks[:10]))


async def _tried(stack: Stack, requests: int, seed: int) -> Tally:
    world = World(Databases(stack.cluster, stack.passwords))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.port}", timeout=_TIMEOUT_S) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
        routes = [
            f"{method.upper()} {path}" for path in paths for method in paths[path] if path != "/healthz"
        ]
        intrusion = Intrusion(world, await peopled(world, http), http, routes, seed)
        while intrusion.tally.tried < requests:
            for kind in KINDS:
                await intrusion.batch(kind)
        return intrusion.tally
