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

VALUES += [
    (
        "rich_text",
        {"max_length": 8},
        ['"# a\\n*b*"', '""'],
        ['"123456789"', '"\\u0000"', "1", '{"type": "doc"}'],
    ),
    (
        "currency",
        {"code": "EUR"},
        ["0", "-1250", "9223372036854775807", "-9223372036854775808"],
        ["12.5", "12.0", "1e3", '"1250"', "9223372036854775808", "true", '{"amount": 1, "code": "EUR"}'],
    ),
    (
        "percent",
        {"scale": 4},
        ["0.25", "-1", "999999999999", "12.3456", "0.12340"],
        ["0.12345", "1000000000000", '"25%"', '"0.25"', "true", "NaN"],
    ),
    (
        "duration",
        {},
        ["0", "5400", "-0.001", "999999999999.999", "1e3"],
        ["0.0001", "1000000000000", '"5400"', '"PT1H30M"', '"1:30:00"', "true"],
    ),
    (
        "phone",
        {},
        ['"+4930123456"', '"+12"', '"+123456789012345"'],
        [
            '"+1234567890123456"',
            '"+0123"',
            '"+1"',
            '"4930123456"',
            '"+49 30"',
            '"+49\\n"',
            '"+４９３０"',
            "4930123456",
        ],
    ),
    ("rating", {"max": 3}, ["1", "3"], ["0", "4", "-1", "1.0", '"1"', "true"]),
    (
        "uuid",
        {},
        ['"00000000-0000-0000-0000-000000000000"', '"018f2b5c-7e6a-7cc1-9c3a-0123456789ab"'],
        [
            '"018F2B5C-7E6A-7CC1-9C3A-0123456789AB"',
            '"{018f2b5c-7e6a-7cc1-9c3a-0123456789ab}"',
            '"018f2b5c7e6a7cc19c3a0123456789ab"',
            '"018f2b5c-7e6a-7cc1-9c3a-0123456789ab\\n"',
            '""',
            "1",
        ],
    ),
    ("user", {}, ['"01jd0000000000000000000000"'], ['"01JD0000000000000000000000"', '"me"', '"a@b.co"', "1"]),
    *(
        (name, {}, ['"2024-01-01T00:00:00Z"'], ['"2024-01-01"', "1700000000", '"now"'])
        for name in ("created_at", "updated_at")
    ),
    *(
        (name, {}, ['"01jd0000000000000000000000"'], ['"01JD0000000000000000000000"', '"me"', "1"])
        for name in ("created_by", "updated_by")
    ),
    (
        "link",
        {"table": "a", "many": False},
        ["[]", '["01jd0000000000000000000000"]'],
        [
            '"01jd0000000000000000000000"',
            '["x"]',
            '["01jd0000000000000000000000", "01jd0000000000000000000001"]',
        ],
    ),
    (
        "link",
        {"table": "a"},
        ['["01jd0000000000000000000001", "01jd0000000000000000000000"]'],
        ['["01jd0000000000000000000000", "01jd0000000000000000000000"]', "[null]", "{}"],
    ),
    ("autonumber", {}, ["1", "9223372036854775807"], ["0", "-1", "1.0", '"1"', "9223372036854775808"]),
]

GOOD = [(name, options, value) for name, options, good, _ in VALUES for value in good]
BAD = [(name, options, value) for name, options, _, bad in VALUES for value in bad]


def adapter(name: str, options: dict[str, Any]) -> TypeAdapter[Any]:
    kind = TYPES[name]
    return TypeAdapter(kind.annotation(kind.options.model_validate(options)))


def test_every_type_is_in_the_table() -> None:
    assert {name for name, *_ in VALUES} == set(TYPES)


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
        ("number", "1.0000000000000000001", False),
        ("number", "1e-20000", False),
        ("number", "9999999999999999999.999999", True),
        ("duration", "5400", True),
        ("percent", "25%", False),
        ("phone", "+4930", True),
        ("uuid", "x", False),
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
        ("percent", {}, {"scale": 7}, Change.WIDER),
        ("percent", {}, {"scale": 5}, Change.REFUSED),
        ("rating", {}, {"max": 10}, Change.WIDER),
        ("rating", {}, {"max": 4}, Change.REFUSED),
        ("currency", {"code": "EUR"}, {"code": "USD"}, Change.REFUSED),
        ("rich_text", {}, {"max_length": 1_000_000}, Change.WIDER),
        ("single_select", CHOICES, {"choices": CHOICES["choices"][::-1]}, Change.WIDER),
        ("single_select", CHOICES, {"choices": CHOICES["choices"][:1]}, Change.NARROWER),
        ("multi_select", CHOICES, {"choices": CHOICES["choices"][1:]}, Change.NARROWER),
    ],
)
def test_what_new_options_mean(name: str, old: dict[str, Any], new: dict[str, Any], change: Change) -> None:
    kind = TYPES[name]
    assert kind.change(kind.options.model_validate(old), kind.options.model_validate(new)) is change


@pytest.mark.parametrize(
    ("name", "options", "target", "fits"),
    [
        ("phone", {}, "text", True),
        ("user", {}, "text", True),
        ("long_text", {}, "rich_text", True),
        ("rich_text", {}, "long_text", True),
        ("rich_text", {}, "text", False),
        ("rating", {}, "integer", True),
        ("rating", {"max": 10}, "number", True),
        # The digits would fit, and mean something else.
        ("integer", {}, "percent", False),
        ("integer", {}, "duration", False),
        ("number", {}, "percent", False),
        ("uuid", {}, "text", False),
    ],
)
def test_which_types_become_another_in_place(
    name: str, options: dict[str, Any], target: str, fits: bool
) -> None:
    kind, other = TYPES[name], TYPES[target]
    assert kind.widens(kind.options.model_validate(options), other, other.options()) is fits


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("currency", {}),
        ("currency", {"code": "eur"}),
        ("currency", {"code": "XXQ"}),
        ("rating", {"max": 0}),
        ("rating", {"max": 11}),
        ("percent", {"scale": 13}),
        ("duration", {"scale": 1}),
        ("rich_text", {"max_length": 0}),
        ("user", {"multiple": True}),
    ],
)
def test_options_that_mean_nothing_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TYPES[name].options.model_validate(options)


def test_a_currencys_schema_says_what_is_counted() -> None:
    euro, yen = (adapter("currency", {"code": code}).json_schema() for code in ("EUR", "JPY"))
    assert euro["description"] == "EUR, in 1/100 units"
    assert yen["description"] == "JPY, in whole units"
    assert adapter("rich_text", {}).json_schema()["contentMediaType"] == "text/markdown"
