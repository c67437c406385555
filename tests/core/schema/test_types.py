"""Each type takes what PostgreSQL can hold, in one spelling, and refuses the rest."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from core.schema.types import TYPES, Change, check_operand

CHOICES = {"choices": [{"name": "red"}, {"name": "dark green"}]}
DEEP = "[" * 22 + "]" * 22

VALUES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    (
        "text",
        {"max_length": 5},
        ['""', '"äöü😀\\n"', '"12345"'],
        ['"123456"', '"\\u0000"', '"\\ud800"', "1", "null", "true", '["a"]'],
    ),
    ("long_text", {"max_length": 3}, ['"a\\tb"'], ['"abcd"', '"\\u0000"', "1"]),
    (
        "integer",
        {},
        ["0", "-1", "9223372036854775807", "-9223372036854775808"],
        ["9223372036854775808", "-9223372036854775809", "1.0", "1e3", '"1"', "true", "NaN", "1" * 400],
    ),
    (
        "number",
        {"precision": 6, "scale": 2},
        ["0", "-0.0", "9999.99", "-9999.99", "1e3", "1.10", "0.01"],
        ["10000", "1e4", "0.001", "1.005", '"1"', "true", "NaN", "Infinity", "-Infinity", "1e400", "null"],
    ),
    ("number", {"precision": 38, "scale": 16}, ["1234567890123456789012", "1e21"], ["1e22", "1e-17"]),
    ("boolean", {}, ["true", "false"], ["1", "0", '"true"', "null"]),
    (
        "date",
        {},
        ['"2024-02-29"', '"0001-01-01"', '"9999-12-31"'],
        [
            '"2023-02-29"',
            '"0000-01-01"',
            '"10000-01-01"',
            '"2024-1-1"',
            '"20240101"',
            '"1700000000"',
            "1700000000",
            '"2024-01-01T00:00:00"',
            '"２０２４-01-01"',
            '"2024-01-01\\n"',
            '"infinity"',
        ],
    ),
    (
        "datetime",
        {},
        [
            '"2024-01-01T00:00:00Z"',
            '"2024-01-01T23:59:59.999999+14:00"',
            '"2024-01-01T00:00:00-12:00"',
            '"0001-01-01T00:00:00Z"',
            '"9999-12-31T23:59:59.999999Z"',
        ],
        [
            '"2024-01-01T00:00:00"',
            '"2024-01-01"',
            '"2024-01-01 00:00:00Z"',
            '"2024-01-01T24:00:00Z"',
            '"2024-01-01T00:00:60Z"',
            '"2024-01-01T00:00:00.1234567Z"',
            '"2024-01-01T00:00:00+15:00"',
            '"2024-01-01T00:00:00+0530"',
            '"0001-01-01T00:00:00+01:00"',
            '"9999-12-31T23:59:59-01:00"',
            '"2024-02-30T00:00:00Z"',
            '"1700000000"',
            "1700000000",
            '"now"',
        ],
    ),
    ("single_select", CHOICES, ['"red"', '"dark green"'], ['"Red"', '"blue"', '""', "1", '["red"]']),
    (
        "multi_select",
        CHOICES,
        ["[]", '["red"]', '["dark green", "red"]'],
        ['["red", "red"]', '["blue"]', '"red"', "[null]", "[1]", "{}"],
    ),
    (
        "email",
        {},
        ['"a@b.co"', '"first.last+tag@sub.example.org"', f'"{"a" * 242}@example.com"'],
        ['"a@b"', '"a b@c.de"', '"@b.co"', '"a@-b.co"', '"a@b..co"', f'"{"a" * 243}@example.com"', "1", '""'],
    ),
    (
        "url",
        {},
        ['"http://a"', '"https://example.org/a?b=c&d=%20#e"', '"http://[::1]:80/"'],
        [
            '"ftp://a"',
            '"javascript:alert(1)"',
            '"http://"',
            '"http://a b"',
            '"https://example.org/ü"',
            '"https://a\\"b"',
            f'"http://{"a" * 1994}"',
            "1",
        ],
    ),
    (
        "json",
        {},
        ["{}", "[1, 2.5, null, true]", '"text"', "0", '{"a": {"b": ["c"]}}', "1e300"],
        ['"\\u0000"', '{"\\u0000": 1}', "NaN", "[Infinity]", "1e400", DEEP, json.dumps([0] * 10_001)],
    ),
]

GOOD = [(name, options, value) for name, options, good, _ in VALUES for value in good]
BAD = [(name, options, value) for name, options, _, bad in VALUES for value in bad]


def adapter(name: str, options: dict[str, Any]) -> TypeAdapter[Any]:
    kind = TYPES[name]
    return TypeAdapter(kind.annotation(kind.options.model_validate(options)))


def test_every_type_is_in_the_table() -> None:
    assert {name for name, *_ in VALUES} == set(TYPES)
    assert len(TYPES) == 12


@pytest.mark.parametrize(("name", "options", "value"), GOOD, ids=lambda part: str(part)[:40])
def test_a_good_value_is_taken(name: str, options: dict[str, Any], value: str) -> None:
    adapter(name, options).validate_json(value, strict=True)


@pytest.mark.parametrize(("name", "options", "value"), BAD, ids=lambda part: str(part)[:40])
def test_a_bad_value_is_refused(name: str, options: dict[str, Any], value: str) -> None:
    with pytest.raises(ValidationError):
        adapter(name, options).validate_json(value, strict=True)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_type_has_a_json_schema(name: str) -> None:
    options = next(options for type_name, options, *_ in VALUES if type_name == name)
    schema = adapter(name, options).json_schema()
    assert json.dumps(schema)
    assert name == "json" or "type" in schema


@pytest.mark.parametrize(
    ("name", "text", "fits"),
    [
        ("text", "anything", True),
        ("text", '"', True),
        ("integer", "12", True),
        ("integer", "twelve", False),
        ("integer", "1.5", False),
        ("number", "1.5", True),
        ("number", "1_0", False),
        ("boolean", "true", True),
        ("boolean", "yes", False),
        ("date", "2024-01-01", True),
        ("date", "today", False),
        ("datetime", "2024-01-01T00:00:00Z", True),
        ("json", "{", False),
    ],
)
def test_a_filters_text_must_fit_its_cast(name: str, text: str, fits: bool) -> None:
    kind = TYPES[name]
    if fits:
        assert check_operand(kind, kind.options(), text) == text
    else:
        with pytest.raises(ValidationError):
            check_operand(kind, kind.options(), text)


@pytest.mark.parametrize(
    ("name", "old", "new", "change"),
    [
        ("text", {}, {"max_length": 500}, Change.SAME),
        ("text", {}, {"max_length": 501}, Change.WIDER),
        ("text", {}, {"max_length": 499}, Change.REFUSED),
        ("number", {}, {"precision": 26, "scale": 6}, Change.WIDER),
        ("number", {}, {"precision": 25, "scale": 7}, Change.REFUSED),
        ("single_select", CHOICES, {"choices": CHOICES["choices"][::-1]}, Change.WIDER),
        ("single_select", CHOICES, {"choices": CHOICES["choices"][:1]}, Change.NARROWER),
        ("multi_select", CHOICES, {"choices": CHOICES["choices"][1:]}, Change.NARROWER),
    ],
)
def test_what_new_options_mean(name: str, old: dict[str, Any], new: dict[str, Any], change: Change) -> None:
    kind = TYPES[name]
    assert kind.change(kind.options.model_validate(old), kind.options.model_validate(new)) is change
