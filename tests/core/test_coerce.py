"""Typecast: what is taken anyway is left alone, what is made is taken, and what has no meaning stays refused."""

import json
from decimal import Context, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import body as bodies
from core import coerce
from core.body import Write
from core.errors import BadRequest, Invalid
from core.ids import Ulid
from core.record import Field, Table
from core.schema.types import TYPES, Mode, checker
from core.schema.types.casting import literal
from core.schema.types.iso_4217 import MINOR_DIGITS
from tests.core.schema.test_types import VALUES

CHOICES = {"choices": [{"name": name} for name in ("open", "Dark Green", "Straße", "5", "a, b")]}
OPTIONS: dict[str, dict[str, Any]] = {
    "single_select": CHOICES,
    "multi_select": CHOICES,
    "currency": {"code": "EUR"},
    "text": {"max_length": 30},
}
KINDS = [name for name, kind in TYPES.items() if kind.writable and name != "link"]
ULID = "01jd0000000000000000000000"
UUID = "018f2b5c-7e6a-7cc1-9c3a-0123456789ab"
SAME = object()


def table(**required: bool) -> Table:
    """Return a table with a field of every type, called as the type."""
    fields = tuple(
        Field(f"f{n}", name, TYPES[name], settings(name), required.get(name, False))
        for n, name in enumerate(KINDS)
    )
    return Table(Ulid("t" * 26), Ulid("b" * 26), Ulid("x" * 26), "All", 1, fields)


def settings(name: str) -> Any:
    """Return the options of a type's field."""
    return TYPES[name].options.model_validate(OPTIONS.get(name, {}))


def cast(name: str, value: Any, mode: Mode) -> tuple[Any, str | None]:
    """Cast a value as one of a type's field."""
    return coerce.coerce(TYPES[name], settings(name), value, mode)


TABLE = table()
D = Decimal
_WIDE = Context(prec=1_500, Emin=-9_999, Emax=9_999)

# What a value becomes strictly and leniently; SAME where it stays what it is, and refused.
CASES: list[tuple[str, Any, Any, Any]] = [
    ("text", 5, SAME, "5"),
    ("text", D("1.50"), SAME, "1.50"),
    ("text", True, SAME, "true"),
    ("text", ["a"], SAME, SAME),
    ("text", "x" * 31, SAME, SAME),
    ("rich_text", 5, SAME, "5"),
    ("integer", "5", 5, 5),
    ("integer", "-9223372036854775808", -(2**63), -(2**63)),
    ("integer", "9223372036854775808", SAME, SAME),
    ("integer", D("5.0"), 5, 5),
    ("integer", D("1e3"), 1000, 1000),
    ("integer", D("5.5"), SAME, SAME),
    ("integer", D("1e400"), SAME, SAME),
    ("integer", "1e9999", SAME, SAME),
    ("integer", "007", SAME, 7),
    ("integer", " 5 ", SAME, 5),
    ("integer", "+5", SAME, 5),
    ("integer", "1,234", SAME, 1234),
    ("integer", "1,23", SAME, SAME),
    ("integer", "1,234 567", SAME, SAME),
    ("integer", "５", SAME, SAME),
    ("integer", True, SAME, SAME),
    ("integer", "five", SAME, SAME),
    ("integer", "", SAME, None),
    ("number", "1.50", D("1.50"), D("1.50")),
    (
        "number",
        "9999999999999999999.999999",
        D("9999999999999999999.999999"),
        D("9999999999999999999.999999"),
    ),
    ("number", "1,234.50", SAME, D("1234.50")),
    ("number", "1 234 567.5", SAME, D("1234567.5")),
    ("number", "1'234", SAME, D("1234")),
    ("number", "1.234,50", SAME, SAME),
    ("number", "1.0000001", SAME, SAME),
    ("number", "NaN", SAME, SAME),
    ("number", "1_0", SAME, SAME),
    ("number", ".5", SAME, D("0.5")),
    ("percent", "25%", D("0.25"), D("0.25")),
    ("percent", "0.25", D("0.25"), D("0.25")),
    ("percent", "12,345.6 %", SAME, D("123.456")),
    ("percent", "0.00001%", SAME, SAME),
    ("percent", "%", SAME, SAME),
    ("duration", "5400", 5400, 5400),
    ("duration", "PT1H30M", 5400, 5400),
    ("duration", "-P1DT0.5S", D("-86400.5"), D("-86400.5")),
    ("duration", "P2W", 1209600, 1209600),
    ("duration", "P1M", SAME, SAME),
    ("duration", "P", SAME, SAME),
    ("duration", "PT", SAME, SAME),
    ("duration", "1:30:00", SAME, 5400),
    ("duration", "1:30", SAME, SAME),
    ("duration", "1h 30m", SAME, 5400),
    ("duration", "90 minutes", SAME, 5400),
    ("duration", "1 day", SAME, 86400),
    ("duration", "0.0001", SAME, SAME),
    ("boolean", "true", True, True),
    ("boolean", "Yes ", SAME, True),
    ("boolean", 0, SAME, False),
    ("boolean", 2, SAME, SAME),
    ("boolean", "maybe", SAME, SAME),
    ("date", "2026-11-24T23:30:00-05:00", SAME, "2026-11-24"),
    ("date", "2026-1-5", SAME, "2026-01-05"),
    ("date", "20260105", SAME, "2026-01-05"),
    ("date", "2026/02/30", SAME, SAME),
    ("date", "11/12/2026", SAME, SAME),
    ("date", 20260105, SAME, SAME),
    ("datetime", "2026-11-24 12:00:00+0200", "2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z"),
    ("datetime", "2026-11-24t12:00z", "2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z"),
    (
        "datetime",
        "2026-11-24T12:00:00.123000000Z",
        "2026-11-24T12:00:00.123000Z",
        "2026-11-24T12:00:00.123000Z",
    ),
    ("datetime", "2026-11-24T12:00:00.1234567Z", SAME, "2026-11-24T12:00:00.123456Z"),
    ("datetime", "2026-11-24T12:00:00", SAME, "2026-11-24T12:00:00Z"),
    ("datetime", "2026-11-24", SAME, "2026-11-24T00:00:00Z"),
    ("datetime", "2026-11-24T12:00:00+23:00", "2026-11-23T13:00:00Z", "2026-11-23T13:00:00Z"),
    ("datetime", "0001-01-01T00:00:00+01:00", SAME, SAME),
    ("datetime", 1764000000, SAME, SAME),
    ("datetime", "now", SAME, SAME),
    ("single_select", "OPEN", SAME, "open"),
    ("single_select", " dark green", SAME, "Dark Green"),
    ("single_select", "STRASSE", SAME, "Straße"),
    ("single_select", 5, SAME, "5"),
    ("single_select", "nope", SAME, SAME),
    ("single_select", ["open"], SAME, SAME),
    ("multi_select", "open", ["open"], ["open"]),
    ("multi_select", "a, b", ["a, b"], ["a, b"]),
    ("multi_select", "Open, 5, open", SAME, ["open", "5"]),
    ("multi_select", ["OPEN", "open", 5], SAME, ["open", "5"]),
    ("multi_select", "open, nope", SAME, SAME),
    ("multi_select", " ", SAME, None),
    ("email", " a@b.co ", SAME, "a@b.co"),
    ("email", "mailto:a@b.co", SAME, "a@b.co"),
    ("email", "a@b", SAME, SAME),
    ("url", "HTTPS://A.b/C", "https://A.b/C", "https://A.b/C"),
    ("url", "www.example.org", SAME, "https://www.example.org"),
    ("url", "https://a.b/ü x%20?q=é#f", SAME, "https://a.b/%C3%BC%20x%20?q=%C3%A9#f"),
    ("url", "https://ü.de/", SAME, SAME),
    ("url", "javascript:alert(1)", SAME, SAME),
    ("phone", "+49 30 1234-567", "+49301234567", "+49301234567"),
    ("phone", "+49 (0)30 1234567", SAME, "+49301234567"),
    ("phone", "0049 30 1234567", SAME, "+49301234567"),
    ("phone", "tel:+49-30-1234567", SAME, "+49301234567"),
    ("phone", "030 1234567", SAME, SAME),
    ("phone", 4930123456, SAME, SAME),
    ("rating", "4", 4, 4),
    ("rating", D("4.0"), 4, 4),
    ("rating", "6", SAME, SAME),
    ("uuid", UUID.upper(), UUID, UUID),
    ("uuid", "{" + UUID + "}", UUID, UUID),
    ("uuid", "urn:uuid:" + UUID, UUID, UUID),
    ("uuid", UUID.replace("-", ""), UUID, UUID),
    ("uuid", f" {UUID} ", SAME, UUID),
    ("uuid", UUID[:-1], SAME, SAME),
    ("uuid", "{" + UUID, SAME, SAME),
    ("user", ULID.upper(), ULID, ULID),
    ("user", f"{ULID}\n", SAME, ULID),
    ("user", "me", SAME, SAME),
    ("currency", "12.50", SAME, 1250),
    ("currency", "12", SAME, 1200),
    ("currency", "-€ 1,234.5", SAME, -123450),
    ("currency", "12.50 eur", SAME, 1250),
    ("currency", "EUR 12.50", SAME, 1250),
    ("currency", "$12.50", SAME, SAME),
    ("currency", "12.505", SAME, SAME),
    ("currency", D("12.5"), SAME, SAME),
    ("currency", D("12.0"), SAME, SAME),
    ("json", D("NaN"), SAME, SAME),
]


@pytest.mark.parametrize(
    ("name", "given", "strict", "lenient"),
    CASES,
    ids=lambda part: "same" if part is SAME else repr(part)[:40],
)
def test_what_a_value_stands_for(name: str, given: Any, strict: Any, lenient: Any) -> None:
    for mode, expected in ((Mode.OFF, SAME), (Mode.STRICT, strict), (Mode.LENIENT, lenient)):
        made, rule = cast(name, given, mode)
        assert (
            (made, rule is None) == (given, True)
            if expected is SAME
            else (made, rule is None) == (expected, False)
        )
        assert type(made) is type(given) or rule is not None


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
    st.sampled_from([given for _, given, _, _ in CASES if isinstance(given, str)]),
    st.from_regex(r"[-+]?[0-9]{1,20}([.,:' ][0-9]{1,8}){0,3} ?(%|h|EUR|Z|\+0[0-9]00)?", fullmatch=True),
)
ANY = _SCALARS | st.lists(_SCALARS, max_size=4) | st.dictionaries(st.text(max_size=4), _SCALARS, max_size=3)


@pytest.mark.parametrize("name", KINDS)
@given(value=ANY, mode=st.sampled_from(Mode))
def test_a_cast_is_taken_and_casting_again_changes_nothing(name: str, value: Any, mode: Mode) -> None:
    accepts = checker(TYPES[name], settings(name))
    made, rule = cast(name, value, mode)
    if accepts(value) or value is None or mode is Mode.OFF:
        assert (made, rule) == (value, None)
    if rule is None:
        assert made is value
    else:
        assert accepts(made) or (made is None and mode is Mode.LENIENT)
    assert cast(name, made, mode) == (made, None)
    strictly, why = cast(name, value, Mode.STRICT)
    if why is not None:  # what strict makes, lenient makes too
        assert cast(name, value, Mode.LENIENT)[0] == strictly


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, options, good, _ in VALUES
        for value in good
        if name in KINDS and options == {} and name not in OPTIONS
    ],
)
@pytest.mark.parametrize("mode", Mode)
def test_what_is_taken_strictly_is_left_alone_byte_for_byte(name: str, value: str, mode: Mode) -> None:
    raw = f'{{ "fields" : {{"{name}":  {value}}} }}'.encode()
    body, made = coerce.read(TABLE, Write.CREATE, raw, mode)
    assert (body.raw, made) == (raw, ())


@given(value=ANY)
def test_json_is_written_to_the_last_digit(value: Any) -> None:
    assert json.loads(coerce.dumps(value), parse_float=Decimal) == value


def test_each_cast_is_told_and_the_rest_of_the_body_stays() -> None:
    raw = (
        b'{"records": [{"fields": {"integer": "5", "text": "5", "json": {"n": 1.00000000000000000001}}},'
        b' {"fields": {"date": "2026-1-5", "number": " 1,234.50 ", "percent": 0.5}}]}'
    )
    body, made = coerce.read(TABLE, Write.CREATE, raw, Mode.LENIENT)
    assert json.loads(body.raw, parse_float=Decimal) == {
        "records": [
            {"fields": {"integer": 5, "text": "5", "json": {"n": Decimal("1.00000000000000000001")}}},
            {"fields": {"date": "2026-01-05", "number": Decimal("1234.50"), "percent": Decimal("0.5")}},
        ]
    }
    assert not body.one
    assert json.loads(coerce.report(made)) == [
        {"record": 0, "field": "integer", "from": "5", "to": 5, "rule": "number_from_text"},
        {"record": 1, "field": "date", "from": "2026-1-5", "to": "2026-01-05", "rule": "iso_variant"},
        {"record": 1, "field": "number", "from": " 1,234.50 ", "to": 1234.5, "rule": "number_from_text"},
    ]


@pytest.mark.parametrize(
    ("raw", "pointer", "code"),
    [
        ('{"fields": {"integer": "5", "date": "soon"}}', "/fields/date", "string_pattern_mismatch"),
        ('{"fields": {"integer": "5", "nope": "5"}}', "/fields/nope", "unknown_field"),
        ('{"fields": {"integer": "5", "integer": "6"}}', "/fields/integer", "duplicate_key"),
        ('{"fields": {"rating": ""}}', "/fields/rating", "int_type"),
        (
            '{"records": [{"fields": {"rating": 1}}, {"fields": {"rating": "9"}}]}',
            "/records/1/fields/rating",
            "int_type",
        ),
        ('{"fields": {"rating": 1, "integer": "5"}, "records": []}', "/records", "too_short"),
        ('{"records": {"fields": {"integer": "5"}}}', "/records", "list_type"),
        ("[]", "", "dict_type"),
        ('{"fields": 5}', "/fields", "dict_type"),
    ],
)
def test_what_is_still_wrong_is_refused_at_its_place(raw: str, pointer: str, code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        coerce.read(table(rating=True), Write.CREATE, raw.encode(), Mode.LENIENT)
    assert (pointer, code) in [(fault.pointer, fault.code) for fault in refusal.value.faults]


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_what_is_no_json_is_refused_as_ever(raw: bytes) -> None:
    with pytest.raises((BadRequest, Invalid)):
        coerce.read(TABLE, Write.CREATE, raw, Mode.LENIENT)


def test_there_is_an_end_to_what_one_body_may_have_changed() -> None:
    fields = tuple(Field(f"f{n}", f"c{n}", TYPES["integer"], settings("integer")) for n in range(11))
    wide = Table(TABLE.tenant_id, TABLE.base_id, TABLE.id, "Wide", 1, fields)
    some = [{"fields": {f"c{n}": "1" for n in range(10)}}] * bodies.MAX_RECORDS
    body, made = coerce.read(wide, Write.CREATE, json.dumps({"records": some}).encode(), Mode.STRICT)
    assert (len(body.records), len(made)) == (bodies.MAX_RECORDS, coerce.MAX_COERCIONS)
    many = [{"fields": {f"c{n}": "1" for n in range(11)}}] * bodies.MAX_RECORDS
    with pytest.raises(Invalid) as refusal:
        coerce.read(wide, Write.CREATE, json.dumps({"records": many}).encode(), Mode.STRICT)
    assert refusal.value.faults[0].code == "too_many_coercions"


@pytest.mark.parametrize(
    ("name", "number", "fits"),
    [
        ("number", "1.0000000000000000001", False),
        ("number", "1.000000000000000000000000000000000000000000", True),
        ("number", "9999999999999999999.999999", True),
        ("number", "9007199254740993.000001", True),
        ("number", "1e-20000", False),
        ("number", "-1E-7", False),
        ("number", "1.5e1", True),
        ("number", "0e99999999999999999999", False),
        ("number", "0." + "0" * 30_000 + "1", False),
        ("percent", "0.25000000000000001", False),
        ("duration", "0.00099999999999999999", False),
        ("json", "1e-20000", False),
        ("json", "0e-99999999999999999999", False),
        ("json", "1." + "0" * 17_000, False),
        ("json", "1e-1001", False),
        ("json", "1e-1000", True),
        ("json", "1e-0999", True),
        ("json", "0." + "0" * 600 + "1e-401", False),
        ("json", "1e400", False),
        ("json", "1e308", True),
        ("json", "0e-1001", False),
        ("json", "0E+16384", False),
        ("json", "0E+16383", True),
        ("json", "1e-400", True),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_number_is_read_digit_by_digit(name: str, number: str, fits: bool) -> None:
    if name == "json":  # its fields are read so for their own sake, not because of a number beside them
        alone = Table(
            TABLE.tenant_id,
            TABLE.base_id,
            TABLE.id,
            "J",
            1,
            tuple(TABLE.by_name[n] for n in ("text", "json")),
        )
        assert _is_taken(alone, number) is fits
    raw = f'{{"fields":{{"text":"a","{name}" : {number}}}}}'.encode()
    if fits:
        assert bodies.read(TABLE, Write.CREATE, raw).raw == raw
        return
    with pytest.raises(Invalid) as refusal:
        bodies.read(TABLE, Write.CREATE, raw)
    assert refusal.value.faults[0].pointer == f"/fields/{name}"


def _is_taken(on: Table, number: str) -> bool:
    try:
        bodies.read(on, Write.CREATE, f'{{"fields":{{"json":[{number}]}}}}'.encode())
    except Invalid:
        return False
    return True


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,26})?([eE][-+]?[0-9]{1,3})?", fullmatch=True))
def test_a_number_is_taken_if_and_only_if_its_own_digits_fit(text: str) -> None:
    value = literal(text)
    fits = (value == 0 or value.adjusted() < 19) and value == value.quantize(D("0.000001"), context=_WIDE)
    raw = f'{{"fields":{{"number":{text}}}}}'.encode()
    try:
        body = bodies.read(TABLE, Write.CREATE, raw)
    except Invalid:
        assert not fits
    else:
        assert fits
        assert body.records[0]["fields"]["number"] == value


def test_every_currency_has_its_digits() -> None:
    assert len(MINOR_DIGITS) > 150
    assert all(len(code) == 3 and code.isupper() for code in MINOR_DIGITS)
    assert (MINOR_DIGITS["EUR"], MINOR_DIGITS["JPY"], MINOR_DIGITS["KWD"]) == (2, 0, 3)
