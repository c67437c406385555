"""Each step of a schema application, run twice, leaves the same world; run late, it changes nothing."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from activities.operations import Failing, OperationActivities
from activities.schema_change import Change, SchemaChangeActivities, StepOf
from activities.tenant_provision import Provision, TenantProvisionActivities
from core.errors import Conflict
from core.ids import Ulid, new
from tests.conftest import REGION, Databases
from tests.workflows.conftest import tools_of
from tests.workflows.worlds import world

SPEC = {
    "tables": [
        {"name": "A", "fields": [{"name": "x", "type": "text"}]},
        {"name": "B", "fields": [{"name": "y", "type": "integer"}]},
    ]
}


class Changing:
    """The activities with the role of their queue, and a base to try them on."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        self._tools = tools_of(databases, "schema")
        self._tenants = tools_of(databases, "tenants")
        self.do = SchemaChangeActivities(self._tools.control, self._tools.clusters)
        self.frame = OperationActivities(self._tools.control)

    async def close(self) -> None:
        await self._tools.clusters.close()
        await self._tenants.clusters.close()

    async def base(self) -> tuple[Ulid, Ulid]:
        tenant_id, base_id = new(), new()
        async with self.databases.own("control") as conn:
            await conn.execute(
                "insert into control.tenants (id, slug, name, region, status)"
                " values ($1, $2, 'Acme', $3, 'provisioning')",
                tenant_id, tenant_id, REGION,
            )  # fmt: skip
        made = await self._operation("tenant_provision", tenant_id, None, {"slug": tenant_id})
        do = TenantProvisionActivities(self._tenants.control, self._tenants.clusters)
        provision = Provision(operation_id=made, tenant_id=tenant_id)
        for step in (do.place, do.create_home, do.open_account, do.activate):
            await step(provision)
        async with self.databases.own("control") as conn:
            await conn.execute(
                "insert into control.bases (id, tenant_id, workspace_id, name)"
                " select $1, tenant_id, id, 'Stock' from control.workspaces where tenant_id = $2",
                base_id, tenant_id,
            )  # fmt: skip
        return tenant_id, base_id

    async def change(self, base: tuple[Ulid, Ulid], spec: dict[str, Any]) -> Change:
        async with self.databases.own("control") as conn:
            await conn.execute(
                "update control.operations set state = 'failed' where state = 'running' and base_id = $1",
                base[1],
            )
        operation = await self._operation("schema_apply", *base, {"spec": spec})
        return Change(operation_id=operation, tenant_id=base[0], base_id=base[1])

    async def _operation(
        self, kind: str, tenant_id: Ulid, base_id: Ulid | None, given: dict[str, Any]
    ) -> Ulid:
        operation = new()
        async with self.databases.own("control") as conn:
            await conn.execute(
                "insert into control.operations"
                " (id, kind, subject_id, tenant_id, base_id, input_json, requested_by, state)"
                " values ($1, $2, $3, $4, $5, $6, 'test', 'running')",
                operation, kind, base_id or tenant_id, tenant_id, base_id, json.dumps(given),
            )  # fmt: skip
        return operation


def step_of(change: Change, n: int) -> StepOf:
    return StepOf(**change.model_dump(), step=n)


@pytest_asyncio.fixture
async def changing(databases: Databases) -> AsyncIterator[Changing]:
    made = Changing(databases)
    yield made
    await made.close()


async def test_every_step_run_twice_leaves_the_same_world(changing: Changing):
    base = await changing.base()
    change = await changing.change(base, SPEC)
    planned = await changing.do.plan(change)
    assert await changing.do.plan(change) == planned
    assert len(planned.labels) == 2
    for n in range(2):
        await changing.do.apply_step(step_of(change, n))
        once = await world(changing.databases, base[0])
        await changing.do.apply_step(step_of(change, n))
        assert await world(changing.databases, base[0]) == once
    await changing.do.publish(change)
    once = await world(changing.databases, base[0])
    await changing.do.publish(change)
    await changing.do.abandon(change)
    assert await world(changing.databases, base[0]) == once


async def test_every_undo_run_twice_leaves_the_same_world(changing: Changing):
    base = await changing.base()
    change = await changing.change(base, SPEC)
    await changing.do.plan(change)
    planned = await world(changing.databases, base[0])
    await changing.do.apply_step(step_of(change, 0))
    for n in (1, 0):  # the second never ran
        await changing.do.undo_step(step_of(change, n))
        once = await world(changing.databases, base[0])
        await changing.do.undo_step(step_of(change, n))
        assert await world(changing.databases, base[0]) == once
    once = await world(changing.databases, base[0])
    for name in ("relations", "columns", "policies", "its tables", "its fields", "its bases"):
        assert once[name] == planned[name]


async def test_a_step_that_comes_behind_its_undo_is_refused(changing: Changing):
    base = await changing.base()
    change = await changing.change(base, SPEC)
    await changing.do.plan(change)
    await changing.frame.note_failing(
        Failing(operation_id=change.operation_id, error={"code": "no", "detail": "no", "errors": []})
    )
    await changing.do.undo_step(step_of(change, 0))
    await changing.do.abandon(change)
    before = await world(changing.databases, base[0])
    for late in (changing.do.plan(change), changing.do.apply_step(step_of(change, 0))):
        with pytest.raises(Conflict):
            await late
    assert await world(changing.databases, base[0]) == before


async def test_what_was_left_past_the_point_of_no_return_is_finished_first(changing: Changing):
    base = await changing.base()
    first = await changing.change(base, SPEC)
    for n in range(len((await changing.do.plan(first)).labels)):
        await changing.do.apply_step(step_of(first, n))
    await changing.do.publish(first)
    there = await world(changing.databases, base[0])
    drops = {
        "spec": {"tables": []},
        "confirm": [f"drop_table:{row['id']}" for row in there["its tables"]],
    }
    left = await changing.change(base, {})
    async with changing.databases.own("control") as conn:
        await conn.execute(
            "update control.operations set input_json = $2 where id = $1",
            left.operation_id,
            json.dumps(drops),
        )
    assert (await changing.do.plan(left)).point_of_no_return == 0
    await changing.do.apply_step(step_of(left, 0))
    # Its run is terminated here; the next one wants something else.
    planned = await changing.do.plan(await changing.change(base, {"tables": [{"name": "C"}]}))
    assert planned.version == 3
    there = await world(changing.databases, base[0])
    assert [row["state"] for row in there["registry"]] == ["applied", "applied", "applying"]
    assert there["its tables"] == []
