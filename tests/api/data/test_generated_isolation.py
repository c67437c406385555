"""No spelling of ids, filters, links, cursors, views or keys reaches what is another's, and a reader never writes."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from api.data.app import DataApi
from tests.api.data.sides import KINDS, Side, peopled
from tests.api.data.verdicts import Intrusion
from tests.api.data.world import World

AT_LEAST = 1_000
SEED = 12


def routes_of(app: DataApi) -> list[str]:
    """Every route that a token opens."""
    return [
        f"{method.upper()} {path}"
        for path, operations in app.openapi()["paths"].items()
        for method in operations
        if path != "/healthz"
    ]


@pytest.fixture(scope="module")
async def http(app: DataApi) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://data") as made:
        yield made


@pytest.fixture(scope="module")
async def sides(world: World, http: httpx.AsyncClient) -> list[Side]:
    """Two tenants, each with two workspaces and three bases."""
    return await peopled(world, http)


async def test_no_generated_request_reaches_another(
    app: DataApi, world: World, http: httpx.AsyncClient, sides: list[Side]
) -> None:
    intrusion = Intrusion(world, sides, http, routes_of(app), SEED)
    tally = intrusion.tally
    while tally.tried < AT_LEAST:
        for kind in KINDS:
            await intrusion.batch(kind)
    print(f"isolation: {tally.tried} requests, {tally.twins} twins, seed {SEED}")  # noqa: T201
    print(f"isolation: by status {dict(sorted(tally.by_status.items()))}")  # noqa: T201
    assert not tally.leaks, "\n\n".join(tally.leaks[:10])
    assert set(tally.by_route) == set(routes_of(app))
    assert set(tally.by_kind) == set(KINDS)
    assert {200, 201, 400, 401, 403, 404, 410, 422} <= set(tally.by_status)


async def test_whoever_got_further_would_be_found(
    app: DataApi, world: World, http: httpx.AsyncClient, sides: list[Side]
) -> None:
    """A token that reaches the whole tenant, taken for one that reaches its own base only."""
    mistaken = [replace(side, reach=side.reach | {"tenant": frozenset([side.id])}) for side in sides]
    intrusion = Intrusion(world, mistaken, http, routes_of(app), SEED)
    for _ in range(6):
        await intrusion.batch("tenant")
    found = "\n".join(intrusion.tally.leaks)
    for fault in (
        "told a value",
        "told a name",
        "told an id",
        "base was there",
        "changed",
        "unlike what does not",
    ):
        assert fault in found, fault
