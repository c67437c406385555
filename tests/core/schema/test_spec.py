"""A spec is bounded, and whatever is wrong with it is named with its place and what may have been meant."""

import json
from typing import Any

import pytest

from core.errors import Invalid
from core.schema import spec
from core.schema.spec import read_spec


def refused(raw: Any) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as error:
        read_spec(raw)
    assert error.value.reason == "invalid_spec"
    return [(fault.pointer, fault.code) for fault in error.value.faults]


def table(**members: Any) -> dict[str, Any]:
    return {"tables": [{"name": "T", **members}]}


def text_fields(count: int) -> list[dict[str, str]]:
    return [{"name": f"f{i}", "type": "text"} for i in range(count)]


@pytest.mark.parametrize(
    ("raw", "place", "code"),
    [
        ([], "", "model_type"),
        (b"{", "", "json_invalid"),
        (b'{"tables": [{"name": "\\ud800"}]}', "", "json_invalid"),
        ({"table": []}, "/table", "unknown_member"),
        ({"tables": [{"name": ""}]}, "/tables/0/name", "string_too_short"),
        ({"tables": [{"name": "x" * 101}]}, "/tables/0/name", "string_too_long"),
        ({"tables": [{"name": " x"}]}, "/tables/0/name", "value_error"),
        ({"tables": [{"name": "a\nb"}]}, "/tables/0/name", "value_error"),
        ({"tables": [{"name": "a\u202eb"}]}, "/tables/0/name", "value_error"),
        ({"tables": [{"name": "\ud800"}]}, "/tables/0/name", "string_unicode"),
        ({"tables": [{"name": "a"}, {"name": "A"}]}, "/tables/1/name", "duplicate_name"),
        ({"tables": [{"name": "İd"}, {"name": "id"}]}, "/tables/1/name", "duplicate_name"),
        ({"tables": [{"name": "e\u0301"}, {"name": "é"}]}, "/tables/1/name", "duplicate_name"),
        ({"tables": [{"name": "a", "id": "A" * 26}]}, "/tables/0/id", "string_pattern_mismatch"),
        (table(fields=[{"name": "x", "type": "txt"}]), "/tables/0/fields/0/type", "unknown_type"),
        (table(fields=[{"name": "x"}]), "/tables/0/fields/0/type", "missing"),
        (table(fields=[{"name": "Version", "type": "text"}]), "/tables/0/fields/0/name", "reserved_name"),
        (
            table(fields=[{"name": "x", "type": "text", "required": "yes"}]),
            "/tables/0/fields/0/required",
            "bool_type",
        ),
        (
            table(fields=[{"name": "x", "type": "text", "options": {"max_lenght": 3}}]),
            "/tables/0/fields/0/options/max_lenght",
            "unknown_member",
        ),
        (
            table(fields=[{"name": "x", "type": "number", "options": {"precision": 3, "scale": 5}}]),
            "/tables/0/fields/0/options",
            "value_error",
        ),
        (
            table(fields=[{"name": "x", "type": "single_select"}]),
            "/tables/0/fields/0/options/choices",
            "missing",
        ),
        (
            table(fields=[{"name": "x", "type": "long_text", "unique": True}]),
            "/tables/0/fields/0/unique",
            "cannot_be_unique",
        ),
        (
            table(fields=[{"name": "x", "type": "text", "options": {"max_length": 601}, "unique": True}]),
            "/tables/0/fields/0/unique",
            "cannot_be_unique",
        ),
        (table(views=[{"name": "v", "kind": "list"}]), "/tables/0/views/0/kind", "literal_error"),
        (
            table(views=[{"name": "v", "kind": "grid", "definition": {"a": "x\0"}}]),
            "/tables/0/views/0/definition",
            "value_error",
        ),
        (
            table(views=[{"name": "v", "kind": "grid", "definition": {"a": "x" * 70_000}}]),
            "/tables/0/views/0/definition",
            "value_error",
        ),
        ({"tables": [{"name": f"t{i}"} for i in range(201)]}, "/tables", "too_long"),
        (table(fields=text_fields(301)), "/tables/0/fields", "too_long"),
        (
            table(views=[{"name": f"v{i}", "kind": "grid"} for i in range(101)]),
            "/tables/0/views",
            "too_long",
        ),
        (
            {"tables": [{"name": f"t{i}", "fields": text_fields(300)} for i in range(17)]},
            "/tables",
            "too_many_fields",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(raw: Any, place: str, code: str) -> None:
    assert refused(raw) == [(place, code)]


def test_all_faults_are_told_at_once() -> None:
    fields = [{"name": "x", "type": "numbr"}, {"name": "id", "type": "text"}, {"nam": "y"}]
    assert [place for place, _ in refused(table(fields=fields))] == [
        "/tables/0/fields/0/type",
        "/tables/0/fields/1/name",
        "/tables/0/fields/2/nam",
    ]


def test_a_misspelt_type_is_answered_with_the_nearest() -> None:
    with pytest.raises(Invalid) as error:
        read_spec(table(fields=[{"name": "x", "type": "singleselect"}]))
    assert "did you mean 'single_select'?" in error.value.faults[0].detail


def test_a_spec_that_no_longer_fits_a_message_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "MAX_SPEC_BYTES", 1_000)
    assert refused(table(fields=text_fields(20))) == [("/tables", "spec_too_large")]


def test_a_spec_may_be_as_large_as_its_bounds() -> None:
    read_spec({"tables": [{"name": f"t{i}", "fields": text_fields(300)} for i in range(16)]})
    read_spec({"tables": [{"name": f"t{i}"} for i in range(200)]})


def test_options_are_complete_once_read() -> None:
    field = read_spec(table(fields=[{"name": "x", "type": "number"}])).tables[0].fields[0]
    assert field.options == {"precision": 25, "scale": 6}
    assert json.loads(field.model_dump_json())["options"] == field.options
