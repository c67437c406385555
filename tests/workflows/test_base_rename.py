"""A base's new name reaches its tenant's database, behind what the base still waits for."""

import pytest

from core.ids import Ulid
from tests.workflows.conftest import Platform
from tests.workflows.test_schema_change import STOCK, assert_applied, with_field
from tests.workflows.worlds import world


async def rename(platform: Platform, base: tuple[Ulid, Ulid], name: str, status: str = "active") -> Ulid:
    """Rename a base as `PATCH /bases/{id}` does, and return the operation's id."""
    async with platform.databases.connect("control_api", "control") as conn:
        await conn.execute(
            "update control.bases set name = $2, status = $3 where id = $1", base[1], name, status
        )
    return await platform.enqueue("schema_apply", base[1], {}, tenant_id=base[0], base_id=base[1])


async def names(platform: Platform, base: tuple[Ulid, Ulid]) -> list[str]:
    return [row["name"] for row in (await world(platform.databases, base[0]))["its bases"]]


@pytest.fixture
async def base(platform: Platform) -> tuple[Ulid, Ulid]:
    tenant_id = await platform.tenant()
    return tenant_id, await platform.base(tenant_id)


@pytest.mark.parametrize("status", ["active", "archived"])
async def test_a_new_name_reaches_the_tenants_database_and_changes_nothing_else(
    platform: Platform, base: tuple[Ulid, Ulid], status: str
):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    before = await world(platform.databases, base[0])
    operation = await rename(platform, base, "Wares", status)
    row = await platform.ended(operation)
    assert (row.state, row.result) == ("succeeded", {"version": 1, "changed": False, "steps": 0})
    after = await world(platform.databases, base[0])
    assert after.pop("its bases") == [{**before.pop("its bases")[0], "name": "Wares", "status": status}]
    assert after == before
    found = await (await platform.handle(operation)).describe()
    assert await found.static_summary() == f"Apply a new name or status to base {base[1]}"


@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_new_name_is_told_when_its_run_is_terminated(
    platform: Platform, base: tuple[Ulid, Ulid], place: str
):
    gate = platform.faults.hold("plan", place)
    operation = await rename(platform, base, "Wares")
    await platform.faults.reached("plan", place)
    await (await platform.handle(operation)).terminate(reason="an operator's hand")
    row = await platform.ended(operation)
    gate.set()
    assert (row.state, row.result) == ("succeeded", {"version": 0, "changed": False, "steps": 0})
    assert await names(platform, base) == ["Wares"]


async def test_a_new_name_is_told_before_there_is_any_schema(platform: Platform, base: tuple[Ulid, Ulid]):
    assert (await platform.ended(await rename(platform, base, "Wares"))).state == "succeeded"
    assert await names(platform, base) == ["Wares"]


@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_new_name_survives_a_break(platform: Platform, base: tuple[Ulid, Ulid], place: str):
    platform.faults.at("plan", place, ConnectionError("the cable"))
    assert (await platform.ended(await rename(platform, base, "Wares"))).state == "succeeded"
    assert await names(platform, base) == ["Wares"]


async def test_a_new_name_waits_for_a_schema_on_its_way_and_leaves_it_alone(
    platform: Platform, base: tuple[Ulid, Ulid]
):
    gate = platform.faults.hold("publish", "before")
    first = await platform.ask_schema(*base, STOCK)
    await platform.faults.reached("publish", "before")
    more = with_field(STOCK, name="Note")
    asked = [await rename(platform, base, "Wares"), await platform.ask_schema(*base, more)]
    gate.set()
    assert [(await platform.ended(each)).state for each in (first, *asked)] == ["succeeded"] * 3
    await assert_applied(platform, base, 2, more)
    assert await names(platform, base) == ["Wares"]
