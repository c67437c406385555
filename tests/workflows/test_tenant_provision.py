"""A tenant is there, entirely, or nothing of its home is; whatever breaks in between."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from core.ids import Ulid
from tests.seeds import until
from tests.workflows.conftest import Platform
from tests.workflows.recording import keep
from tests.workflows.worlds import HOME, world

STEPS = ("place", "create_home", "open_account", "activate")
UNDONE = ("place", "create_home", "open_account")


async def assert_complete(platform: Platform, tenant_id: Ulid) -> None:
    there = await world(platform.databases, tenant_id)
    assert there["tenant"] == [{"status": "active", "status_reason": None}]
    assert there["placement"][0]["state"] == "active"
    assert there["fence"] == [{"generation": 1, "state": "open"}]
    assert [row["action"] for row in there["outbox"]] == ["TENANT_CREATE"]
    assert [row["name"] for row in there["workspaces"]] == ["Main"]
    assert len(there["wallet"]) == len(there["subscription"]) == len(there["role"]) == 1
    tables = [row for row in there["relations"] if row["relkind"] == "r"]
    assert [row["relname"] for row in tables] == ["bases", "fields", "files", "tables", "views"]
    assert all(row["relrowsecurity"] and row["relforcerowsecurity"] for row in tables)
    assert {row["owner"] for row in tables} == {"tenant_owner"}


async def assert_gone(platform: Platform, tenant_id: Ulid, reason: str) -> None:
    there = await world(platform.databases, tenant_id)
    assert {name: there[name] for name in HOME} == {name: [] for name in HOME}
    assert there["tenant"][0]["status"] == "failed"
    assert reason in there["tenant"][0]["status_reason"]


async def test_a_tenant_is_provisioned_with_all_that_it_needs(platform: Platform):
    tenant_id, operation = await platform.ask_tenant(
        owner_email="ada@example.com", owner_name="Ada", plan_code="team"
    )
    row = await platform.ended(operation)
    assert row.state == "succeeded"
    assert row.percent == 100
    assert row.result is not None
    assert row.result["tenant_id"] == tenant_id
    await assert_complete(platform, tenant_id)
    there = await world(platform.databases, tenant_id)
    assert row.result["workspace_id"] == there["workspaces"][0]["id"]
    assert there["members"][0]["role"] == "owner"
    assert there["subscription"][0]["plan_id"] == "01kb0000000000000000000002"


async def test_the_public_api_may_become_the_tenant_and_sees_nothing_without_claims(platform: Platform):
    tenant_id = await platform.tenant()
    async with platform.databases.connect("data_api", "data") as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.fetch(f'select * from "tenant_{tenant_id}".bases')
        async with conn.transaction():
            await conn.execute(f'set local role "tenant_{tenant_id}"')
            assert await conn.fetch(f'select * from "tenant_{tenant_id}".bases') == []
            assert await conn.fetch("select * from platform.changes") == []


async def test_operators_can_read_the_run(platform: Platform):
    tenant_id, operation = await platform.ask_tenant(name="Nordic Goods")
    await platform.ended(operation)
    handle = await platform.handle(operation)
    await handle.result()
    await keep(handle, "tenant_provision.done")
    found = await handle.describe()
    assert found.id == f"provision/{tenant_id}"
    assert "Nordic Goods" in (await found.static_summary() or "")
    assert operation in (await found.static_details() or "")
    attributes = {pair.key.name: pair.value for pair in found.typed_search_attributes}
    attributes.pop("BuildIds", None)  # the server's own
    assert attributes == {
        "TenantId": tenant_id,
        "Kind": "tenant_provision",
        "Phase": "succeeded",
        "OperationId": operation,
        "NeedsHuman": False,
    }
    status = await handle.query("status")
    assert [(step["name"], step["state"]) for step in status["steps"]] == [(name, "done") for name in STEPS]
    assert status["percent"] == 100


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_breaks_is_tried_again_and_ends_complete(platform: Platform, step: str, place: str):
    platform.faults.at(step, place, ConnectionError("the cable"))
    tenant_id, operation = await platform.ask_tenant()
    assert (await platform.ended(operation)).state == "succeeded"
    await assert_complete(platform, tenant_id)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("step", UNDONE)
async def test_a_step_that_cannot_work_leaves_nothing(platform: Platform, step: str, place: str):
    platform.faults.at(step, place, ApplicationError("no room", type="no_room", non_retryable=True))
    tenant_id, operation = await platform.ask_tenant()
    row = await platform.ended(operation)
    assert row.state == "failed"
    assert row.error == {"code": "no_room", "detail": "no room", "errors": []}
    await assert_gone(platform, tenant_id, "no room")
    handle = await platform.handle(operation)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert (await handle.describe()).status == WorkflowExecutionStatus.FAILED


@pytest.mark.parametrize("undo", ["close_account", "drop_home", "give_up"])
async def test_an_undo_that_breaks_is_tried_again(platform: Platform, undo: str):
    platform.faults.at("open_account", "after", ApplicationError("no", type="no", non_retryable=True))
    platform.faults.at(undo, "before", ConnectionError("the cable"))
    platform.faults.at(undo, "after", ConnectionError("the cable"))
    tenant_id, operation = await platform.ask_tenant()
    assert (await platform.ended(operation)).state == "failed"
    await assert_gone(platform, tenant_id, "no")


async def test_an_undo_that_is_refused_calls_a_person_and_goes_on_when_it_can(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workflows.shared.AGAIN", timedelta(seconds=1))
    platform.faults.at("create_home", "after", ApplicationError("no", type="no", non_retryable=True))
    platform.faults.at("drop_home", "before", ApplicationError("stuck", type="stuck", non_retryable=True))
    tenant_id, operation = await platform.ask_tenant()
    handle = await platform.handle(operation)

    async def called() -> bool:
        attributes = (await handle.describe()).typed_search_attributes
        return any(pair.key.name == "NeedsHuman" and pair.value for pair in attributes)

    await until(called)
    assert (await platform.operation(operation)).step == "undo create_home: needs a person"
    assert (await platform.ended(operation)).state == "failed"
    await assert_gone(platform, tenant_id, "no")


async def test_no_cluster_in_the_region_is_said_with_its_pointer(platform: Platform):
    tenant_id, operation = await platform.ask_tenant(region="mars-1")
    row = await platform.ended(operation)
    assert row.error is not None
    assert row.error["code"] == "no_cluster"
    assert row.error["errors"][0]["pointer"] == "/region"
    await assert_gone(platform, tenant_id, "mars-1")


async def test_an_unknown_plan_takes_back_the_home_that_was_made(platform: Platform):
    tenant_id, operation = await platform.ask_tenant(plan_code="gold")
    row = await platform.ended(operation)
    assert row.error is not None
    assert row.error["code"] == "unknown_plan"
    await keep(await platform.closed(operation), "tenant_provision.undone")
    await assert_gone(platform, tenant_id, "gold")


@pytest.mark.parametrize("step", UNDONE)
async def test_a_cancel_is_obeyed_between_steps_and_undone(platform: Platform, step: str):
    gate = platform.faults.hold(step, "after")
    tenant_id, operation = await platform.ask_tenant()
    handle = await platform.handle(operation)
    await platform.faults.reached(step, "after")
    await handle.cancel()
    gate.set()
    row = await platform.ended(operation)
    assert row.state == "canceled"
    await assert_gone(platform, tenant_id, "canceled")
    await keep(await platform.closed(operation), "tenant_provision.canceled")


async def test_a_cancel_past_the_point_of_no_return_changes_nothing(platform: Platform):
    gate = platform.faults.hold("activate", "before")
    tenant_id, operation = await platform.ask_tenant()
    handle = await platform.handle(operation)
    await platform.faults.reached("activate", "before")
    assert not (await platform.operation(operation)).cancelable
    await handle.cancel()
    gate.set()
    assert (await platform.ended(operation)).state == "succeeded"
    await assert_complete(platform, tenant_id)


async def test_a_failed_tenant_can_be_provisioned_by_a_second_operation(platform: Platform):
    platform.faults.at("open_account", "after", ApplicationError("no", type="no", non_retryable=True))
    tenant_id, first = await platform.ask_tenant()
    assert (await platform.ended(first)).state == "failed"
    second = await platform.enqueue("tenant_provision", tenant_id, {"slug": tenant_id}, tenant_id=tenant_id)
    assert (await platform.ended(second)).state == "succeeded"
    await assert_complete(platform, tenant_id)


async def test_many_tenants_at_once_all_get_a_home(platform: Platform):
    asked = await asyncio.gather(*(platform.ask_tenant() for _ in range(8)))
    ends = await asyncio.gather(*(platform.ended(operation) for _, operation in asked))
    assert [row.state for row in ends] == ["succeeded"] * 8
    for tenant_id, _ in asked:
        await assert_complete(platform, tenant_id)
