"""What is kept in mind of bases: as many as their fields allow, those that are used, and each once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core import ids
from db.data.catalog import Catalog
from db.data.homes import Claims, Home
from tests.api.data.world import Base, World
from tests.conftest import Databases
from tests.db.data.homes import line


@pytest.fixture(scope="module")
async def home(databases: Databases) -> AsyncIterator[Home]:
    async with line(databases) as reached:
        yield reached


@pytest.fixture(scope="module")
async def bases(databases: Databases) -> list[Base]:
    """Three bases of four fields, and an empty one."""
    world = World(databases)
    made = [await world.tenant() for _ in range(4)]
    for base in made[:3]:
        for table in ("One", "Two"):
            await base.add_table(table, [{"name": "A", "type": "text"}, {"name": "B", "type": "integer"}])
    return made


def claims(base: Base) -> Claims:
    return Claims(base.tenant_id, base.workspace_id, base.id, "viewer", 1, ids.new(), None)


def known(catalog: Catalog) -> list[str]:
    """The bases that are in mind, those first that are forgotten first."""
    assert catalog._fields == sum(base.size for base in catalog._bases.values())
    return [base_id for _, base_id in catalog._bases]


async def test_what_was_not_used_for_longest_is_forgotten_first(home: Home, bases: list[Base]) -> None:
    catalog = Catalog(max_fields=12)
    one, two, three, empty = [base.id for base in bases]
    for n in (0, 1):
        assert (await catalog.base(home, claims(bases[n]))).size == 5
    await catalog.base(home, claims(bases[3]))
    assert known(catalog) == [one, two, empty]
    await catalog.base(home, claims(bases[0]))
    await catalog.base(home, claims(bases[2]))
    assert known(catalog) == [empty, one, three]
    assert (await catalog.base(home, claims(bases[1]))).tables.keys() == {
        table.id for table in bases[1].tables.values()
    }
    assert known(catalog) == [three, two]


async def test_one_base_is_kept_however_large_it_is(home: Home, bases: list[Base]) -> None:
    catalog = Catalog(max_fields=2)
    for base in bases[:2]:
        await catalog.base(home, claims(base))
        assert known(catalog) == [base.id]


async def test_what_is_loaded_again_counts_once(home: Home, bases: list[Base]) -> None:
    catalog = Catalog()
    first, *_ = await asyncio.gather(*(catalog.reload(home, claims(bases[0])) for _ in range(5)))
    await catalog.reload(home, claims(bases[0]))
    assert known(catalog) == [bases[0].id]
    catalog.forget(claims(bases[0]), first)  # it is not this one any more
    assert known(catalog) == [bases[0].id]
    catalog.forget(claims(bases[0]), await catalog.base(home, claims(bases[0])))
    assert known(catalog) == []
