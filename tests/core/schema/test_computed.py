"""What is computed can be had under any name, and be neither required nor unique."""

import pytest

from core.errors import Invalid
from core.schema.diff import diff
from core.schema.spec import BaseSpec, read_spec
from core.schema.types import TYPES
from tests.core.schema.strategies import EMPTY, ids, later_ids

COMPUTED = sorted(name for name, kind in TYPES.items() if not kind.writable)


def spec(**field: object) -> BaseSpec:
    return read_spec({"tables": [{"name": "T", "fields": [{"name": "x", **field}]}]})


def test_five_types_are_computed() -> None:
    assert COMPUTED == ["autonumber", "created_at", "created_by", "updated_at", "updated_by"]


@pytest.mark.parametrize("kind", COMPUTED)
@pytest.mark.parametrize(
    ("member", "code"), [("required", "cannot_be_required"), ("unique", "cannot_be_unique")]
)
def test_nobody_can_leave_it_out_or_make_it_unique(kind: str, member: str, code: str) -> None:
    spec(type=kind)
    with pytest.raises(Invalid) as refused:
        spec(type=kind, **{member: True})
    fault = refused.value.faults[0]
    assert (fault.pointer, fault.code) == (f"/tables/0/fields/0/{member}", code)


@pytest.mark.parametrize("kind", COMPUTED)
@pytest.mark.parametrize("other", ["text", "datetime", "integer"])
def test_it_becomes_nothing_else_and_nothing_else_becomes_it(kind: str, other: str) -> None:
    for before, after in ((kind, other), (other, kind)):
        current = diff(EMPTY, spec(type=before), ids()).spec
        with pytest.raises(Invalid) as refused:
            diff(current, spec(type=after), later_ids())
        assert refused.value.faults[0].pointer == "/tables/0/fields/0/type"


def test_a_dropped_one_loses_its_values_only_where_it_has_some() -> None:
    for kind, words in (("created_by", ""), ("autonumber", " with its values")):
        current = diff(EMPTY, spec(type=kind), ids()).spec
        plan = diff(current, read_spec({"tables": [{"name": "T"}]}), later_ids())
        assert [step.label() for step in plan.steps] == [f"Drop the field 'x' of 'T'{words}"]
        assert plan.steps[0].destructive
