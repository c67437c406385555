"""Each step of provisioning, run twice, leaves the same world; run late, it changes nothing."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from activities.operations import End, Failing, OperationActivities
from activities.tenant_provision import GiveUp, Provision, TenantProvisionActivities
from core.errors import Conflict, NotFound
from core.ids import Ulid, new
from db.control import operations
from tests.conftest import REGION, Databases
from tests.workflows.conftest import tools_of
from tests.workflows.worlds import HOME, world
from workers.registry import Tools

FORWARD = ("place", "create_home", "open_account", "activate")


class Provisioning:
    """The activities with the role of their queue, and a tenant to try them on."""

    def __init__(self, databases: Databases, tools: Tools) -> None:
        self.databases = databases
        self.do = TenantProvisionActivities(tools.control, tools.clusters)
        self.frame = OperationActivities(tools.control)
        self._tools = tools

    async def tenant(self) -> Provision:
        tenant_id, operation = new(), new()
        given = {"slug": tenant_id, "owner_email": f"{tenant_id}@example.com"}
        async with self.databases.own("control") as conn:
            await conn.execute(
                "insert into control.tenants (id, slug, name, region, status)"
                " values ($1, $2, 'Acme', $3, 'provisioning')",
                tenant_id, tenant_id, REGION,
            )  # fmt: skip
            await conn.execute(
                "insert into control.operations (id, kind, subject_id, tenant_id, input_json, requested_by, state)"
                " values ($1, 'tenant_provision', $2, $3, $4, 'test', 'running')",
                operation, tenant_id, tenant_id, json.dumps(given),
            )  # fmt: skip
        return Provision(operation_id=operation, tenant_id=tenant_id)

    async def up_to(self, provision: Provision, last: str) -> None:
        for name in FORWARD[: FORWARD.index(last) + 1]:
            await getattr(self.do, name)(provision)

    async def world(self, provision: Provision) -> dict[str, object]:
        return await world(self.databases, Ulid(provision.tenant_id))


@pytest_asyncio.fixture
async def provisioning(databases: Databases) -> AsyncIterator[Provisioning]:
    tools = tools_of(databases, "tenants")
    yield Provisioning(databases, tools)
    await tools.clusters.close()


@pytest.mark.parametrize("name", FORWARD)
async def test_a_step_run_twice_leaves_the_same_world(provisioning: Provisioning, name: str):
    tenant = await provisioning.tenant()
    await provisioning.up_to(tenant, name)
    once = await provisioning.world(tenant)
    first = await getattr(provisioning.do, name)(tenant)
    assert await getattr(provisioning.do, name)(tenant) == first
    assert await provisioning.world(tenant) == once


@pytest.mark.parametrize("name", ["create_home", "open_account"])
async def test_a_step_run_at_the_same_time_as_itself_leaves_the_same_world(
    provisioning: Provisioning, name: str
):
    tenant = await provisioning.tenant()
    await provisioning.up_to(tenant, FORWARD[FORWARD.index(name) - 1])
    await asyncio.gather(*(getattr(provisioning.do, name)(tenant) for _ in range(4)))
    once = await provisioning.world(tenant)
    await getattr(provisioning.do, name)(tenant)
    assert await provisioning.world(tenant) == once


@pytest.mark.parametrize("last", ["place", "create_home", "open_account"])
async def test_the_undo_takes_everything_back_and_can_be_repeated(provisioning: Provisioning, last: str):
    tenant = await provisioning.tenant()
    await provisioning.up_to(tenant, last)
    for _ in range(2):
        await provisioning.do.close_account(tenant)
        await provisioning.do.drop_home(tenant)
    for _ in range(2):
        await provisioning.do.give_up(
            GiveUp(operation_id=tenant.operation_id, tenant_id=tenant.tenant_id, reason="no")
        )
    there = await provisioning.world(tenant)
    assert {name: there[name] for name in HOME} == {name: [] for name in HOME}
    assert there["tenant"] == [{"status": "failed", "status_reason": "no"}]


async def test_an_undo_of_what_never_was_changes_nothing(provisioning: Provisioning):
    tenant = await provisioning.tenant()
    await provisioning.do.close_account(tenant)
    await provisioning.do.drop_home(tenant)
    there = await provisioning.world(tenant)
    assert {name: there[name] for name in HOME} == {name: [] for name in HOME}


@pytest.mark.parametrize("name", FORWARD)
async def test_a_step_that_comes_behind_its_undo_is_refused(provisioning: Provisioning, name: str):
    tenant = await provisioning.tenant()
    await provisioning.up_to(tenant, "open_account")
    await provisioning.frame.note_failing(
        Failing(operation_id=tenant.operation_id, error={"code": "no", "detail": "no", "errors": []})
    )
    await provisioning.do.close_account(tenant)
    await provisioning.do.drop_home(tenant)
    before = await provisioning.world(tenant)
    with pytest.raises(Conflict):
        await getattr(provisioning.do, name)(tenant)
    assert await provisioning.world(tenant) == before


async def test_an_undo_cannot_take_a_tenant_that_was_let_in(provisioning: Provisioning):
    tenant = await provisioning.tenant()
    await provisioning.up_to(tenant, "activate")
    before = await provisioning.world(tenant)
    await provisioning.do.close_account(tenant)
    await provisioning.do.drop_home(tenant)
    await provisioning.do.give_up(
        GiveUp(operation_id=tenant.operation_id, tenant_id=tenant.tenant_id, reason="no")
    )
    assert await provisioning.world(tenant) == before


async def test_the_end_is_written_once(provisioning: Provisioning):
    tenant = await provisioning.tenant()
    end = End(operation_id=tenant.operation_id, state="succeeded", result={"n": 1})
    await provisioning.frame.finish_operation(end)
    await provisioning.frame.finish_operation(end)
    await provisioning.frame.finish_operation(End(operation_id=tenant.operation_id, state="failed"))
    async with provisioning._tools.control() as session:
        row = await operations.get(session, Ulid(tenant.operation_id))
    assert row is not None
    assert (row.state, row.result, row.percent) == ("succeeded", {"n": 1}, 100)


async def test_a_home_needs_a_place(provisioning: Provisioning):
    tenant = await provisioning.tenant()
    with pytest.raises(NotFound):
        await provisioning.do.create_home(tenant)
