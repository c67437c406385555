"""A plan leads exactly where it was asked to, loses things last, and is refused in words that help."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.errors import ConfirmationRequired, Invalid
from core.schema.diff import diff
from core.schema.naming import fold
from core.schema.ops import OPS, Phase
from core.schema.plan import Plan, check_confirmed, follow, load_plan, required_confirmations
from core.schema.spec import BaseSpec, canonical, ddl_hash, read_spec
from tests.core.schema.strategies import EMPTY, bases, changes, later_ids, made

slow = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def base(*fields: dict[str, Any], **table: Any) -> BaseSpec:
    return made(read_spec({"tables": [{"name": "Items", "fields": list(fields), **table}]}))


def with_field(current: BaseSpec, **new: Any) -> BaseSpec:
    plain = current.model_dump(mode="json")
    plain["tables"][0]["fields"][0] |= new
    return read_spec(plain)


@slow
@given(changes())
def test_following_the_plan_gives_the_desired_spec(change: tuple[BaseSpec, Plan]) -> None:
    current, plan = change
    assert follow(current, plan.steps) == plan.spec


@slow
@given(changes())
def test_every_step_leaves_a_valid_spec(change: tuple[BaseSpec, Plan]) -> None:
    spec, plan = change
    for step in plan.steps:
        spec = step.apply(spec)
        BaseSpec.model_validate(spec.model_dump(mode="json"))
        for table in spec.tables:
            assert len({fold(field.name) for field in table.fields}) == len(table.fields)


@slow
@given(changes(), st.data())
def test_undoing_any_prefix_before_the_point_of_no_return_restores(
    change: tuple[BaseSpec, Plan], data: st.DataObject
) -> None:
    current, plan = change
    taken = plan.steps[: data.draw(st.integers(0, plan.point_of_no_return))]
    spec = follow(current, taken)
    for step in reversed(taken):
        spec = step.revert(spec)
    assert spec == current


@slow
@given(changes())
def test_what_can_be_refused_comes_before_what_cannot_be_undone_and_losses_come_last(
    change: tuple[BaseSpec, Plan],
) -> None:
    _, plan = change
    phases = [step.phase for step in plan.steps]
    assert phases == sorted(phases)
    assert all(step.reversible for step in plan.steps[: plan.point_of_no_return])
    assert all(step.phase >= Phase.LOOSEN for step in plan.steps[plan.point_of_no_return :])
    first_loss = next((i for i, step in enumerate(plan.steps) if step.destructive), len(plan.steps))
    assert all(step.destructive for step in plan.steps[first_loss:])


@slow
@given(changes())
def test_a_second_time_there_is_nothing_to_do(change: tuple[BaseSpec, Plan]) -> None:
    _, plan = change
    assert diff(plan.spec, plan.spec, later_ids()).steps == ()
    nameless = plan.spec.model_dump(mode="json")
    for table in nameless["tables"]:
        table["id"] = None
        for entry in table["fields"] + table["views"]:
            entry["id"] = None
    again = diff(plan.spec, read_spec(nameless), later_ids())
    assert again.steps == ()
    assert ddl_hash(again.spec) == ddl_hash(plan.spec)


@slow
@given(changes())
def test_a_plan_survives_its_json(change: tuple[BaseSpec, Plan]) -> None:
    _, plan = change
    again = load_plan(plan.model_dump(mode="json"))
    assert again == plan
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert [step.label() for step in again.steps] == [info.label for info in plan.describe()]


@slow
@given(changes())
def test_only_with_every_confirmation_is_a_plan_confirmed(change: tuple[BaseSpec, Plan]) -> None:
    _, plan = change
    needed = required_confirmations(plan)
    check_confirmed(plan, [*needed, "drop_field:of-an-earlier-request"])
    if needed:
        with pytest.raises(ConfirmationRequired) as refused:
            check_confirmed(plan, needed[1:])
        assert [fault.code for fault in refused.value.faults] == needed[:1]


@given(bases())
@settings(deadline=None)
def test_equal_specs_and_only_they_have_one_canonical_text(spec: BaseSpec) -> None:
    current = made(spec)
    assert read_spec(canonical(current)) == current
    assert ddl_hash(read_spec(canonical(current))) == ddl_hash(current)


@given(bases(), bases())
@settings(deadline=None)
@example(EMPTY, read_spec({"tables": [{"name": "a"}]}))
def test_different_specs_have_different_hashes(one: BaseSpec, other: BaseSpec) -> None:
    assert (ddl_hash(one) == ddl_hash(other)) == (one == other)


def test_every_kind_of_step_can_be_had() -> None:
    choices = {"choices": [{"name": "red"}, {"name": "green"}]}
    current = made(
        read_spec(
            {
                "tables": [
                    {
                        "name": "Items",
                        "fields": [
                            {"name": "gone", "type": "text"},
                            {"name": "renamed", "type": "text"},
                            {"name": "loose", "type": "text", "required": True, "unique": True},
                            {"name": "tight", "type": "text"},
                            {"name": "longer", "type": "text"},
                            {"name": "fewer", "type": "single_select", "options": choices},
                            {"name": "typed", "type": "integer"},
                        ],
                        "views": [{"name": "gone", "kind": "grid"}, {"name": "kept", "kind": "grid"}],
                    },
                    {"name": "Gone"},
                    {"name": "Renamed"},
                ]
            }
        )
    )
    plain = current.model_dump(mode="json")
    items, _, renamed = plain["tables"]
    _, field, loose, tight, longer, fewer, typed = items["fields"]
    field["name"] = "called"
    loose |= {"required": False, "unique": False}
    tight |= {"required": True, "unique": True}
    longer["options"] = {"max_length": 600}
    fewer["options"] = {"choices": [{"name": "red"}]}
    typed |= {"type": "number", "options": {}}
    items["fields"] = [typed, field, loose, tight, longer, fewer, {"name": "new", "type": "date"}]
    items["views"] = [items["views"][1] | {"kind": "form"}, {"name": "new", "kind": "gantt"}]
    renamed["name"] = "Called"
    items["trash_days"] = 7
    plan = diff(current, read_spec({"tables": [items, renamed, {"name": "New"}]}), later_ids())
    assert {step.kind for step in plan.steps} == set(OPS)


def test_a_new_field_of_an_indexed_type_is_indexed_once_it_is_there() -> None:
    current = base({"name": "x", "type": "text"})
    plain = current.model_dump(mode="json")
    plain["tables"][0]["fields"].append({"name": "Day", "type": "date", "unique": True})
    plan = diff(current, read_spec(plain), later_ids())
    assert [step.kind for step in plan.steps] == ["add_field", "index_field", "set_unique"]
    assert plan.steps[1].label() == "Index the field 'Day' of 'Items'"
    assert plan.point_of_no_return == 3


def test_names_are_swapped_without_ever_being_one() -> None:
    current = base({"name": "a", "type": "text"}, {"name": "b", "type": "text"})
    plain = current.model_dump(mode="json")
    first, second = plain["tables"][0]["fields"]
    first["name"], second["name"] = "B", "A"
    plan = diff(current, read_spec(plain), later_ids())
    assert [step.kind for step in plan.steps] == ["rename_field"] * 3


def test_a_dropped_fields_name_is_free_for_another() -> None:
    current = base({"name": "old", "type": "text"}, {"name": "new", "type": "text"})
    plain = current.model_dump(mode="json")
    plain["tables"][0]["fields"] = [plain["tables"][0]["fields"][1] | {"name": "old"}]
    plan = diff(current, read_spec(plain), later_ids())
    assert [step.kind for step in plan.steps] == ["rename_field", "rename_field", "drop_field"]
    assert required_confirmations(plan) == [f"drop_field:{current.tables[0].fields[0].id}"]
    assert plan.steps[-1].label() == "Drop the field 'old' of 'Items' with its values"


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ({"type": "integer"}, {"type": "number", "options": {}}, ["change_type"]),
        ({"type": "text"}, {"type": "long_text", "options": {}}, ["change_type"]),
        ({"type": "email"}, {"type": "text", "options": {}}, ["change_type"]),
        ({"type": "url"}, {"type": "text", "options": {"max_length": 2000}}, ["change_type"]),
        (
            {"type": "single_select", "options": {"choices": [{"name": "x"}]}},
            {"type": "text", "options": {}},
            ["change_type"],
        ),
        (
            {"type": "number", "options": {"precision": 5, "scale": 2}},
            {"options": {"precision": 6, "scale": 2}},
            ["change_options"],
        ),
        ({"type": "text"}, {"required": True}, ["require_field", "validate_required"]),
    ],
)
def test_what_loses_nothing_is_done_in_place(
    before: dict[str, Any], after: dict[str, Any], kinds: list[str]
) -> None:
    current = base({"name": "x", **before})
    assert [step.kind for step in diff(current, with_field(current, **after), later_ids()).steps] == kinds


@pytest.mark.parametrize(
    ("before", "after", "member", "words"),
    [
        ({"type": "integer"}, {"type": "number", "options": {"scale": 20}}, "type", "can become number"),
        ({"type": "text"}, {"type": "integer", "options": {}}, "type", "can become long_text"),
        ({"type": "url"}, {"type": "text", "options": {}}, "type", "copy the values"),
        ({"type": "json"}, {"type": "boolean", "options": {}}, "type", "copy the values"),
        ({"type": "text"}, {"options": {"max_length": 20}}, "options", "copy the values"),
        ({"type": "number"}, {"options": {"precision": 20, "scale": 6}}, "options", "may not fit"),
    ],
)
def test_what_might_lose_something_is_refused_and_says_what_to_do(
    before: dict[str, Any], after: dict[str, Any], member: str, words: str
) -> None:
    current = base({"name": "x", **before})
    with pytest.raises(Invalid) as refused:
        diff(current, with_field(current, **after), later_ids())
    (fault,) = refused.value.faults
    assert fault.pointer == f"/tables/0/fields/0/{member}"
    assert words in fault.detail


def test_more_changes_than_a_run_can_show_are_sent_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.schema.diff.MAX_STEPS", 2)
    with pytest.raises(Invalid, match="send the changes in parts") as refused:
        diff(EMPTY, read_spec({"tables": [{"name": name} for name in "abc"]}), later_ids())
    assert refused.value.reason == "too_many_changes"


def test_an_id_that_is_not_there_is_refused_with_its_place() -> None:
    current = base({"name": "x", "type": "text"})
    plain = current.model_dump(mode="json")
    plain["tables"][0]["fields"].append({"id": next(later_ids()), "name": "y", "type": "text"})
    plain["tables"].append({"id": next(later_ids()), "name": "Other"})
    with pytest.raises(Invalid) as refused:
        diff(current, read_spec(plain), later_ids())
    assert sorted(f.pointer for f in refused.value.faults) == ["/tables/0/fields/1/id", "/tables/1/id"]


def test_what_cannot_be_unique_becomes_something_else_before_it_becomes_unique() -> None:
    def spec(**field: object) -> BaseSpec:
        return read_spec({"tables": [{"name": "T", "fields": [{"name": "x", **field}]}]})

    current = made(spec(type="long_text", options={"max_length": 100}))
    with pytest.raises(Invalid) as refused:
        diff(current, spec(type="text", unique=True), later_ids())
    assert [fault.pointer for fault in refused.value.faults] == ["/tables/0/fields/0/unique"]
    turned = diff(current, spec(type="text"), later_ids()).spec
    assert [step.kind for step in diff(turned, spec(type="text", unique=True), later_ids()).steps] == [
        "set_unique"
    ]
