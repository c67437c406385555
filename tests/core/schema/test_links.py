"""What a spec may say of links, and what is done for them."""

from typing import Any

import pytest

from core.errors import ConfirmationRequired, Invalid
from core.schema.diff import diff
from core.schema.ops import Lock
from core.schema.plan import Plan, check_confirmed
from core.schema.spec import BaseSpec, read_spec
from core.schema.types import TYPES, Change
from tests.core.schema.strategies import EMPTY, ids, later_ids


def spec(*, orders: list[dict[str, Any]], customers: list[dict[str, Any]]) -> BaseSpec:
    return read_spec(
        {"tables": [{"name": "Orders", "fields": orders}, {"name": "Customers", "fields": customers}]}
    )


def link(**options: Any) -> dict[str, Any]:
    return {"name": "Customer", "type": "link", "options": {"table": "Customers"} | options}


NAME = {"name": "Name", "type": "text"}


def made(**options: Any) -> BaseSpec:
    return diff(EMPTY, spec(orders=[link(**options)], customers=[NAME]), ids()).spec


def after(current: BaseSpec, *, orders: list[dict[str, Any]], customers: list[dict[str, Any]]) -> Plan:
    return diff(current, spec(orders=orders, customers=customers), later_ids())


def test_a_table_is_linked_by_its_name_or_its_id() -> None:
    current = made(inverse="Orders")
    options = current.tables[0].fields[0].options
    assert options == {"table": current.tables[1].id, "many": True, "inverse": "Orders"}
    for table in ("Customers", "customers", current.tables[1].id):
        assert not after(current, orders=[link(table=table, inverse="Orders")], customers=[NAME]).steps


@pytest.mark.parametrize(
    ("options", "place", "code"),
    [
        ({"table": "Custom"}, "table", "unknown_table"),
        ({"table": "01jz0000000000000000000000"}, "table", "unknown_table"),
        ({"inverse": "name"}, "inverse", "duplicate_name"),
        ({"inverse": "Version"}, "inverse", "reserved_name"),
        ({"inverse": " Orders"}, "inverse", "value_error"),
        ({"many": 1}, "many", "bool_type"),
        ({"tables": "Customers"}, "tables", "unknown_member"),
    ],
)
def test_a_link_that_cannot_be_is_refused_where_it_stands(
    options: dict[str, Any], place: str, code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        made(**options)
    fault = refused.value.faults[0]
    assert (fault.pointer, fault.code) == (f"/tables/0/fields/0/options/{place}", code)


def test_two_inverses_have_two_names() -> None:
    two = [link(inverse="Orders"), link(inverse="orders") | {"name": "Payer"}]
    with pytest.raises(Invalid) as refused:
        diff(EMPTY, spec(orders=two, customers=[]), ids())
    assert [(f.pointer, f.code) for f in refused.value.faults] == [
        ("/tables/0/fields/1/options/inverse", "duplicate_name")
    ]


def test_an_inverse_comes_goes_and_is_renamed_by_metadata_alone() -> None:
    current = made()
    for inverse in ("Orders", "Purchases", None):
        plan = after(current, orders=[link(inverse=inverse)], customers=[NAME])
        assert [(step.kind, step.locks(), step.confirmation) for step in plan.steps] == [
            ("change_options", Lock.NOTHING, None)
        ]
        current = plan.spec


def test_a_linked_table_goes_only_with_its_links_and_both_are_confirmed() -> None:
    current = made()
    orders = current.tables[0]
    kept = {"tables": [{"name": "Orders", "fields": [orders.fields[0].model_dump(mode="json")]}]}
    with pytest.raises(Invalid) as refused:
        diff(current, read_spec(kept), later_ids())
    assert refused.value.faults[0].code == "unknown_table"
    plan = diff(current, read_spec({"tables": [{"name": "Orders"}]}), later_ids())
    assert [step.kind for step in plan.steps] == ["drop_field", "drop_table"]
    with pytest.raises(ConfirmationRequired) as missing:
        check_confirmed(plan, [])
    assert len(missing.value.faults) == 2


def test_what_other_options_mean() -> None:
    kind = TYPES["link"]

    def change(old: dict[str, Any], new: dict[str, Any]) -> Change:
        both = ({"table": "a"} | options for options in (old, new))
        return kind.change(*map(kind.options.model_validate, both))

    assert change({}, {}) is Change.SAME
    assert change({"many": False}, {"many": True}) is Change.WIDER
    assert change({}, {"many": False}) is Change.REFUSED
    assert change({}, {"table": "b"}) is Change.REFUSED
    assert change({}, {"inverse": "x"}) is Change.WIDER
