"""A schema is applied entirely or not at all; two applications of one base come one after the other."""

import asyncio
import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from core.ids import Ulid, new
from core.schema.spec import read_spec
from db.control import schemas
from tests.seeds import until
from tests.workflows.conftest import Platform, start_of
from tests.workflows.recording import keep
from tests.workflows.worlds import world
from workflows.registry import KINDS, attributes_of

STOCK: dict[str, Any] = {
    "tables": [
        {
            "name": "Items",
            "fields": [
                {"name": "Code", "type": "text", "required": True},
                {"name": "Price", "type": "number"},
            ],
            "views": [{"name": "All", "kind": "grid"}],
        },
        {"name": "Shelves", "fields": [{"name": "Row", "type": "integer"}]},
        {"name": "Makers", "fields": [{"name": "Mail", "type": "email"}]},
    ]
}
NOTHING: dict[str, Any] = {"tables": []}


def with_field(spec: dict[str, Any], **field: Any) -> dict[str, Any]:
    """The spec with one more field in its first table."""
    more = copy.deepcopy(spec)
    more["tables"][0]["fields"].append({"type": "text", **field})
    return more


@pytest.fixture
async def base(platform: Platform) -> tuple[Ulid, Ulid]:
    """A tenant and its empty base."""
    tenant_id = await platform.tenant()
    return tenant_id, await platform.base(tenant_id)


async def assert_applied(
    platform: Platform, base: tuple[Ulid, Ulid], version: int, spec: dict[str, Any]
) -> None:
    tenant_id, base_id = base
    there = await world(platform.databases, tenant_id)
    assert {row["state"] for row in there["registry"] if row["version"] == version} == {"applied"}
    assert [row["schema_version"] for row in there["its bases"]] == [version]
    named = [(row["name"], row["position"]) for row in there["its tables"]]
    assert sorted(named, key=lambda pair: pair[1]) == [(t["name"], n) for n, t in enumerate(spec["tables"])]
    assert {row["name"] for row in there["its fields"]} == {
        f["name"] for t in spec["tables"] for f in t["fields"]
    }
    physical = {
        row["relname"] for row in there["relations"] if row["relkind"] == "r" and row["relname"][:2] == "t_"
    }
    assert physical == {f"t_{row['id']}" for row in there["its tables"]}
    columns = {(row["relname"], row["attname"]) for row in there["columns"]}
    assert {(f"t_{row['table_id']}", f"f_{row['id']}") for row in there["its fields"]} <= columns
    async with platform.control() as session:
        latest = await schemas.latest(session, base_id)
    assert latest.version == version
    assert [t.name for t in latest.spec.tables] == [t["name"] for t in spec["tables"]]


async def assert_empty(platform: Platform, base: tuple[Ulid, Ulid]) -> None:
    there = await world(platform.databases, base[0])
    assert [row["schema_version"] for row in there["its bases"]] in ([], [0])
    assert there["its tables"] == there["its fields"] == there["its views"] == there["columns"] == []
    assert not [row for row in there["relations"] if row["relname"][:2] in ("t_", "u_", "o_", "c_", "p_")]
    assert "applied" not in {row["state"] for row in there["registry"]}
    assert "applying" not in {row["state"] for row in there["registry"]}
    assert "SCHEMA_APPLY" not in {row["action"] for row in there["outbox"]}


async def test_a_schema_is_applied_and_told(platform: Platform, base: tuple[Ulid, Ulid]):
    operation = await platform.ask_schema(*base, STOCK)
    row = await platform.ended(operation)
    assert row.state == "succeeded"
    assert row.result == {"version": 1, "changed": True, "steps": 3}
    await assert_applied(platform, base, 1, STOCK)
    told = await platform.rows(
        "control", "select payload from control.outbox where payload ->> 'operation_id' = $1", operation
    )
    assert told[0]["payload"]["action"] == "SCHEMA_APPLY"
    assert told[0]["payload"]["version"] == 1
    assert len(told[0]["payload"]["diff_json"]["steps"]) == 3
    handle = await platform.closed(operation)
    await keep(handle, "schema_change.done")
    status = await handle.query("status")
    assert [step["name"] for step in status["steps"]] == ["plan", "apply 0", "apply 1", "apply 2", "publish"]


async def test_the_same_schema_again_changes_nothing_and_makes_no_version(
    platform: Platform, base: tuple[Ulid, Ulid]
):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    before = await world(platform.databases, base[0])
    row = await platform.ended(await platform.ask_schema(*base, STOCK))
    assert row.result == {"version": 1, "changed": False, "steps": 0}
    await keep(await platform.closed(row.id), "schema_change.unchanged")
    assert await world(platform.databases, base[0]) == before


async def test_what_would_be_lost_must_be_confirmed_by_name(platform: Platform, base: tuple[Ulid, Ulid]):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    row = await platform.ended(await platform.ask_schema(*base, NOTHING))
    assert row.state == "failed"
    assert row.error is not None
    assert row.error["code"] == "confirmation_required"
    codes = [fault["code"] for fault in row.error["errors"]]
    await assert_applied(platform, base, 1, STOCK)
    row = await platform.ended(await platform.ask_schema(*base, NOTHING, confirm=codes))
    assert row.state == "succeeded"
    await assert_applied(platform, base, 2, NOTHING)


async def test_an_application_made_for_an_older_version_is_refused(
    platform: Platform, base: tuple[Ulid, Ulid]
):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    row = await platform.ended(
        await platform.ask_schema(*base, with_field(STOCK, name="Note"), parent_version=0)
    )
    assert row.error is not None
    assert row.error["code"] == "stale_parent"
    assert row.error["errors"][0]["pointer"] == "/parent_version"
    row = await platform.ended(
        await platform.ask_schema(*base, with_field(STOCK, name="Note"), parent_version=1)
    )
    assert row.result == {"version": 2, "changed": True, "steps": 1}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("step", ["plan", "apply_step", "publish"])
async def test_a_step_that_breaks_is_tried_again_and_ends_applied(
    platform: Platform, base: tuple[Ulid, Ulid], step: str, place: str
):
    platform.faults.at(step, place, ConnectionError("the cable"))
    assert (await platform.ended(await platform.ask_schema(*base, STOCK))).state == "succeeded"
    await assert_applied(platform, base, 1, STOCK)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("nth", [0, 1, 2])
async def test_a_step_that_cannot_work_undoes_all(
    platform: Platform, base: tuple[Ulid, Ulid], nth: int, place: str
):
    refusal = ApplicationError("no", type="no", non_retryable=True)
    platform.faults.at("apply_step", place, refusal, after=nth)
    operation = await platform.ask_schema(*base, STOCK)
    row = await platform.ended(operation)
    assert row.state == "failed"
    assert row.error == {"code": "no", "detail": "no", "errors": []}
    await assert_empty(platform, base)
    handle = await platform.handle(operation)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert (await handle.describe()).status == WorkflowExecutionStatus.FAILED
    await keep(handle, "schema_change.undone")
    # What was given up does not stand in the way of the next.
    assert (await platform.ended(await platform.ask_schema(*base, STOCK))).result == {
        "version": 2,
        "changed": True,
        "steps": 3,
    }


async def test_what_records_hold_refuses_a_plan_before_anything_is_done(
    platform: Platform, base: tuple[Ulid, Ulid]
):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    there = await world(platform.databases, base[0])
    item = next(row["id"] for row in there["its tables"] if row["name"] == "Items")
    code = next(row["id"] for row in there["its fields"] if row["name"] == "Code")
    async with platform.databases.own("data") as conn:
        columns = await conn.fetchval(
            "select string_agg(format('%I', attname), ', ') from pg_attribute"
            " where attrelid = format('%I.%I', $1::text, $2::text)::regclass and attnum > 0 and attname = 'id'",
            f"tenant_{base[0]}", f"t_{item}",
        )  # fmt: skip
        assert columns == "id"
        for _ in range(2):
            await conn.execute(
                f'insert into "tenant_{base[0]}"."t_{item}" (id, "f_{code}") values ($1, $2)',
                new(), "same",
            )  # fmt: skip
    unique = copy.deepcopy(STOCK)
    unique["tables"][0]["fields"][0]["unique"] = True
    row = await platform.ended(await platform.ask_schema(*base, unique))
    assert row.state == "failed"
    assert row.error is not None
    assert row.error["errors"][0]["pointer"].startswith("/tables/0/fields/0")
    await assert_applied(platform, base, 1, STOCK)


async def test_past_the_point_of_no_return_a_refused_step_waits_for_a_person(
    platform: Platform, base: tuple[Ulid, Ulid], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workflows.shared.AGAIN", timedelta(seconds=1))
    await platform.ended(await platform.ask_schema(*base, STOCK))
    row = await platform.ended(await platform.ask_schema(*base, NOTHING))
    assert row.error is not None
    codes = [fault["code"] for fault in row.error["errors"]]
    platform.faults.at("apply_step", "after", ApplicationError("no", type="no", non_retryable=True))
    row = await platform.ended(await platform.ask_schema(*base, NOTHING, confirm=codes))
    assert row.state == "succeeded"
    await assert_applied(platform, base, 2, NOTHING)


async def test_a_cancel_undoes_what_was_done(platform: Platform, base: tuple[Ulid, Ulid]):
    gate = platform.faults.hold("apply_step", "after")
    operation = await platform.ask_schema(*base, STOCK)
    handle = await platform.handle(operation)
    await platform.faults.reached("apply_step", "after")
    await handle.cancel()
    gate.set()
    assert (await platform.ended(operation)).state == "canceled"
    await assert_empty(platform, base)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED


async def test_a_table_that_is_locked_delays_and_does_not_fail(platform: Platform, base: tuple[Ulid, Ulid]):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    there = await world(platform.databases, base[0])
    item = next(row["id"] for row in there["its tables"] if row["name"] == "Items")
    async with platform.databases.own("data") as conn, conn.transaction():
        await conn.execute(f'lock table "tenant_{base[0]}"."t_{item}" in access exclusive mode')
        operation = await platform.ask_schema(*base, with_field(STOCK, name="Note"))
        await platform.faults.reached("apply_step", "before")
        handle = await platform.handle(operation)

        async def tried_again() -> bool:
            pending = (await handle.describe()).raw_description.pending_activities
            return bool(pending) and pending[0].attempt >= 2

        await until(tried_again)
    assert (await platform.ended(operation)).state == "succeeded"
    await assert_applied(platform, base, 2, with_field(STOCK, name="Note"))


async def test_two_applications_of_one_base_queue_behind_each_other(
    platform: Platform, base: tuple[Ulid, Ulid]
):
    gate = platform.faults.hold("publish", "before")
    first = await platform.ask_schema(*base, STOCK)
    second = await platform.ask_schema(*base, with_field(STOCK, name="Note"))
    third = await platform.ask_schema(*base, with_field(STOCK, name="Note"))
    other = (base[0], await platform.base(base[0]))
    elsewhere = await platform.ask_schema(*other, STOCK)
    await platform.faults.reached("publish", "before")
    await platform.running(elsewhere)
    assert (await platform.operation(first)).state == "running"
    assert (await platform.operation(second)).state == "queued"
    gate.set()
    ends = [await platform.ended(each) for each in (first, second, third, elsewhere)]
    assert [row.result["version"] for row in ends if row.result] == [1, 2, 2, 1]
    assert [row.result["changed"] for row in ends if row.result] == [True, True, False, True]
    await until(lambda: _is_closed(platform, third))


async def test_a_schema_waits_for_its_tenant_to_be_at_home(platform: Platform, base: tuple[Ulid, Ulid]):
    async with platform.databases.own("control") as conn:
        await conn.execute("update gateway.placements set state = 'moving' where tenant_id = $1", base[0])
    waiting = await platform.ask_schema(*base, STOCK)
    tenant_id = await platform.tenant()  # queued later, and done first
    assert tenant_id
    assert (await platform.operation(waiting)).state == "queued"
    async with platform.databases.own("control") as conn:
        await conn.execute("update gateway.placements set state = 'active' where tenant_id = $1", base[0])
    assert (await platform.ended(waiting)).state == "succeeded"


async def terminated(platform: Platform, operation: Ulid, step: str, place: str, nth: int = 1) -> None:
    """Terminate a run when a step has come there for the `nth` time, while that step is held."""

    async def there() -> bool:
        return platform.faults.seen.count((step, place)) >= nth

    await until(there)
    await (await platform.handle(operation)).terminate(reason="an operator's hand")


async def column(platform: Platform, base: tuple[Ulid, Ulid], table: str, field: str) -> tuple[str, str]:
    """The physical names of a table and of a field's column."""
    there = await world(platform.databases, base[0])
    table_id = next(row["id"] for row in there["its tables"] if row["name"] == table)
    field_id = next(
        row["id"] for row in there["its fields"] if row["name"] == field and row["table_id"] == table_id
    )
    return f'"tenant_{base[0]}"."t_{table_id}"', f'"f_{field_id}"'


async def write(platform: Platform, base: tuple[Ulid, Ulid], **values: str) -> None:
    """Write a record of the first table, as it is served at this moment."""
    named = [await column(platform, base, "Items", name) for name in values]
    async with platform.databases.own("data") as conn:
        await conn.execute(
            f"insert into {named[0][0]} (id, {', '.join(name for _, name in named)})"
            f" values ($1, {', '.join(f'${n}' for n in range(2, len(named) + 2))})",
            new(), *values.values(),
        )  # fmt: skip


async def values(platform: Platform, base: tuple[Ulid, Ulid], field: str) -> list[str]:
    table, name = await column(platform, base, "Items", field)
    return [row["v"] for row in await platform.rows("data", f"select {name} as v from {table} order by id")]


@pytest.mark.parametrize(
    ("step", "place", "nth"),
    [
        ("apply_step", "after", 1),
        ("apply_step", "before", 2),
        ("publish", "before", 1),
        ("publish", "after", 1),
    ],
)
async def test_what_a_terminated_application_had_begun_is_finished_at_once(
    platform: Platform, base: tuple[Ulid, Ulid], step: str, place: str, nth: int
):
    platform.faults.seen.clear()
    gate = platform.faults.hold(step, place)
    if nth > 1:  # let pass until then: it breaks there
        gate.set()
        platform.faults.at(step, place, ConnectionError("the cable"), times=50, after=nth - 1)
    operation = await platform.ask_schema(*base, STOCK)
    await terminated(platform, operation, step, place, nth)
    row = await platform.ended(operation)
    assert (row.state, row.error) == ("succeeded", None)
    assert row.result == {"version": 1, "changed": True, "steps": 3}
    gate.set()  # the terminated run's step comes to its end behind that
    await assert_applied(platform, base, 1, STOCK)
    handle = await platform.closed(operation)
    await keep(handle, "schema_change.cleared_up")
    assert "Clear up: Apply a new schema" in (await (await handle.describe()).static_summary() or "")
    told = await platform.rows(
        "control", "select count(*)::int as n from control.outbox where payload ->> 'action' = 'SCHEMA_APPLY'"
        " and payload ->> 'operation_id' = $1", operation,
    )  # fmt: skip
    assert told == [{"n": 1}]
    platform.faults.clear()
    wanted = with_field(STOCK, name="Note")
    assert (await platform.ended(await platform.ask_schema(*base, wanted))).state == "succeeded"
    await assert_applied(platform, base, 2, wanted)


async def test_values_that_came_into_a_half_applied_schema_stay(platform: Platform, base: tuple[Ulid, Ulid]):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    gate = platform.faults.hold("apply_step", "after")
    wanted = with_field(with_field(STOCK, name="Note"), name="More")
    operation = await platform.ask_schema(*base, wanted)
    await platform.faults.reached("apply_step", "after")
    await write(platform, base, Code="1", Note="acknowledged")
    await (await platform.handle(operation)).terminate(reason="an operator's hand")
    assert (await platform.ended(operation)).state == "succeeded"
    gate.set()
    await assert_applied(platform, base, 2, wanted)
    assert await values(platform, base, "Note") == ["acknowledged"]


@pytest.mark.parametrize("end", ["a step is refused", "it is canceled"])
async def test_no_undo_drops_what_was_acknowledged(platform: Platform, base: tuple[Ulid, Ulid], end: str):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    gate = platform.faults.hold("apply_step", "after")
    wanted = with_field(with_field(STOCK, name="Note"), name="More")
    operation = await platform.ask_schema(*base, wanted)
    await platform.faults.reached("apply_step", "after")
    await write(platform, base, Code="1", Note="acknowledged")
    if end == "it is canceled":
        await (await platform.handle(operation)).cancel()
    else:
        refusal = ApplicationError("no", type="no", non_retryable=True)
        platform.faults.at("apply_step", "before", refusal, times=1)
    gate.set()
    row = await platform.ended(operation)
    assert row.state == ("canceled" if end == "it is canceled" else "failed")
    assert await values(platform, base, "Note") == ["acknowledged"]
    platform.faults.clear()
    assert (await platform.ended(await platform.ask_schema(*base, wanted))).state == "succeeded"
    await assert_applied(platform, base, 2, wanted)
    assert await values(platform, base, "Note") == ["acknowledged"]


@pytest.mark.parametrize(("step", "place"), [("plan", "before"), ("plan", "after"), ("apply_step", "before")])
async def test_what_a_terminated_application_had_not_begun_is_given_up(
    platform: Platform, base: tuple[Ulid, Ulid], step: str, place: str
):
    gate = platform.faults.hold(step, place)
    operation = await platform.ask_schema(*base, STOCK)
    await platform.faults.reached(step, place)
    await (await platform.handle(operation)).terminate(reason="an operator's hand")
    row = await platform.ended(operation)
    detail = "the run was terminated: an operator's hand; nothing had been changed"
    assert (row.state, row.error) == ("failed", {"code": "terminated", "detail": detail, "errors": []})
    gate.set()
    await assert_empty(platform, base)
    assert (await platform.ended(await platform.ask_schema(*base, STOCK))).state == "succeeded"


async def test_an_undo_that_is_terminated_is_finished(platform: Platform, base: tuple[Ulid, Ulid]):
    platform.faults.at(
        "apply_step", "after", ApplicationError("no", type="no", non_retryable=True), times=1, after=1
    )
    platform.faults.seen.clear()
    gate = platform.faults.hold("undo_step", "after")
    operation = await platform.ask_schema(*base, STOCK)
    await terminated(platform, operation, "undo_step", "after")
    row = await platform.ended(operation)
    gate.set()
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "terminated")
    assert "what it had changed was undone" in row.error["detail"]
    await assert_empty(platform, base)


@pytest.mark.parametrize("note", ["acknowledged", None])
async def test_what_can_be_neither_finished_nor_undone_without_loss_waits_for_a_person(
    platform: Platform, base: tuple[Ulid, Ulid], note: str | None
):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    unique = with_field(STOCK, name="Note")
    unique["tables"][0]["fields"][0]["unique"] = True
    gate = platform.faults.hold("apply_step", "after")
    operation = await platform.ask_schema(*base, unique)
    await platform.faults.reached("apply_step", "after")
    for _ in range(2):  # twice the same code, after the plan has seen that there was none
        await write(platform, base, Code="same", **({"Note": note} if note else {}))
    await (await platform.handle(operation)).terminate(reason="an operator's hand")
    row = await platform.ended(operation)
    gate.set()
    assert row.error is not None
    if note is None:
        assert (row.state, row.error["code"]) == ("failed", "terminated")
        await assert_applied(platform, base, 1, STOCK)
        return
    assert (row.state, row.error["code"]) == ("failed", "half_applied")
    assert "'Note'" in row.error["detail"]
    assert await needs_human(platform, operation)
    await keep(await platform.closed(operation), "schema_change.stuck")
    assert await values(platform, base, "Note") == [note, note]
    # Another name of the base is told and touches nothing of it; another schema is not begun on top.
    renamed = await platform.enqueue("schema_apply", base[1], {}, tenant_id=base[0], base_id=base[1])
    assert (await platform.ended(renamed)).state == "succeeded"
    after = await platform.ask_schema(*base, STOCK)
    row = await platform.ended(after)
    assert row.error is not None
    assert (row.state, row.error["code"]) == ("failed", "half_applied")
    assert await needs_human(platform, after)
    assert await values(platform, base, "Note") == [note, note]
    # When the records allow it, it is finished.
    table, code = await column(platform, base, "Items", "Code")
    async with platform.databases.own("data") as conn:
        await conn.execute(f"update {table} set {code} = id")
    row = await platform.ended(await platform.ask_schema(*base, unique))
    assert (row.state, row.result) == ("succeeded", {"version": 2, "changed": False, "steps": 0})
    await assert_applied(platform, base, 2, unique)
    assert await values(platform, base, "Note") == [note, note]


async def needs_human(platform: Platform, operation: Ulid) -> bool:
    attributes = (await (await platform.closed(operation)).describe()).typed_search_attributes
    return any(pair.key.name == "NeedsHuman" and pair.value for pair in attributes)


async def test_a_long_application_continues_as_new_and_still_undoes_all(
    platform: Platform, base: tuple[Ulid, Ulid]
):
    tables = {"tables": [{"name": f"T{n}", "fields": [{"name": "A", "type": "text"}]} for n in range(8)]}
    platform.faults.at("publish", "before", ConnectionError("the cable"))
    operation, first = await _start_with_short_histories(platform, base, tables)
    row = await platform.ended(operation)
    assert row.result == {"version": 1, "changed": True, "steps": 8}
    await assert_applied(platform, base, 1, tables)
    history = await first.fetch_history()
    assert history.events[-1].HasField("workflow_execution_continued_as_new_event_attributes")
    await keep(first, "schema_change.continued")
    other = (base[0], await platform.base(base[0]))
    platform.faults.at("apply_step", "after", ApplicationError("no", type="no", non_retryable=True), after=7)
    operation, _ = await _start_with_short_histories(platform, other, tables)
    assert (await platform.ended(operation)).state == "failed"
    there = await world(platform.databases, base[0])
    assert len(there["its tables"]) == 8


async def _start_with_short_histories(
    platform: Platform, base: tuple[Ulid, Ulid], spec: dict[str, Any]
) -> tuple[Ulid, WorkflowHandle[Any, Any]]:
    """Start the run as the starter would, but for how long its history may become."""
    operation = new()
    async with platform.databases.own("control") as conn:
        # Not to be claimed: the run itself says that it has begun.
        await conn.execute(
            "insert into control.operations"
            " (id, kind, subject_id, tenant_id, base_id, input_json, requested_by, not_before)"
            " values ($1, 'schema_apply', $2::text, $3, $2::text, $4, 'test', now() + interval '1 day')",
            operation, base[1], base[0], json.dumps({"spec": spec}),
        )  # fmt: skip
    start = start_of(await platform.operation(operation)).model_copy(update={"longest_history": 60})
    kind = KINDS["schema_apply"]
    handle = await platform.client.start_workflow(
        kind.workflow,
        start,
        id=kind.id_of(start),
        task_queue=kind.queue,
        search_attributes=attributes_of(start),
    )
    return operation, platform.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)


async def test_a_spec_that_means_nothing_is_refused_with_pointers(
    platform: Platform, base: tuple[Ulid, Ulid]
):
    row = await platform.ended(await platform.ask_schema(*base, {"tables": [{"name": "", "colour": "red"}]}))
    assert row.error is not None
    assert row.error["code"] == "invalid_spec"
    assert "/tables/0/colour" in {fault["pointer"] for fault in row.error["errors"]}
    await assert_empty(platform, base)


async def test_history_and_latest_tell_what_was_applied(platform: Platform, base: tuple[Ulid, Ulid]):
    await platform.ended(await platform.ask_schema(*base, STOCK))
    platform.faults.at("apply_step", "before", ApplicationError("no", type="no", non_retryable=True))
    await platform.ended(await platform.ask_schema(*base, with_field(STOCK, name="Note")))
    async with platform.control() as session:
        versions = await schemas.history(session, base[1])
        latest = await schemas.latest(session, base[1])
        failed = await schemas.spec_of(session, base[1], 2)
    assert [(v.version, v.state) for v in versions] == [(2, "failed"), (1, "applied")]
    assert latest.version == 1
    assert len(latest.spec.tables[0].fields) == 2
    assert failed is not None
    assert read_spec(failed.model_dump(mode="json")) == failed


async def _is_closed(platform: Platform, operation: Ulid) -> bool:
    found = await (await platform.handle(operation)).describe()
    return found.status == WorkflowExecutionStatus.COMPLETED


async def test_many_bases_of_one_tenant_change_at_once(platform: Platform, base: tuple[Ulid, Ulid]):
    others = [(base[0], await platform.base(base[0])) for _ in range(4)]
    asked = [await platform.ask_schema(*each, STOCK) for each in (base, *others)]
    ends = await asyncio.gather(*(platform.ended(each) for each in asked))
    assert [row.state for row in ends] == ["succeeded"] * 5
