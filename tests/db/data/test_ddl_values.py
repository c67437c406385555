"""What a type's check accepts its column accepts too, and gives back as something that the check accepts."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from core import ids
from core.schema.types import TYPES
from tests.conftest import Databases
from tests.core.schema.test_types import VALUES
from tests.db.data.homes import Home, home

WRITABLE = sorted(name for name, kind in TYPES.items() if kind.writable)
OPTIONS: dict[str, dict[str, Any]] = {
    "link": {"table": "All"},
    "text": {"max_length": 600},
    "number": {"precision": 12, "scale": 3},
    "single_select": {"choices": [{"name": "red"}, {"name": "dark green"}]},
    "multi_select": {"choices": [{"name": "red"}, {"name": "dark green"}]},
    "currency": {"code": "EUR"},
}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DAY = st.dates().map(str) | st.from_regex(r"[0-9]{4}-[0-1][0-9]-[0-3][0-9]", fullmatch=True)
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=610),
    "long_text": st.text(),
    "integer": st.integers(-(2**64), 2**64),
    "number": st.decimals(-(10**10), 10**10, places=4).map(float) | st.integers(-(10**12), 10**12),
    "boolean": st.booleans(),
    "date": DAY,
    "datetime": st.builds(
        "{}T{:02}:{:02}:{:02}{}{}".format,
        DAY,
        st.integers(0, 24),
        st.integers(0, 60),
        st.integers(0, 60),
        st.sampled_from(["", ".1", ".123456", ".999999", ".1234567"]),
        st.sampled_from(["Z", "+14:00", "-14:00", "+14:59", "-23:59", "+00:00", ""]),
    ),
    "single_select": st.sampled_from(["red", "dark green", "blue"]),
    "link": st.lists(st.sampled_from(["01jd0000000000000000000000", "01jd0000000000000000000001", "x"])),
    "multi_select": st.lists(st.sampled_from(["red", "dark green", "blue"]), max_size=3),
    "email": st.emails() | st.text().map(lambda text: f"{text}@example.org"),
    "url": st.text().map(lambda text: f"https://example.org/{text}")
    | st.from_regex(r"https?://\[?[!-~]{1,30}"),
    "json": ANY_JSON,
    "rich_text": st.text(),
    "currency": st.integers(-(2**64), 2**64),
    "percent": st.decimals(-(10**13), 10**13, places=7).map(float),
    "duration": st.decimals(-(10**13), 10**13, places=4).map(float),
    "phone": st.from_regex(r"\+?[0-9]{1,17}", fullmatch=True),
    "rating": st.integers(-1, 7),
    "uuid": st.uuids().map(str) | st.uuids().map(lambda uuid: str(uuid).upper()),
    "user": st.from_regex(r"[0-8][0-9a-z]{25}", fullmatch=True),
}


@pytest.fixture(scope="module")
async def base(databases: Databases) -> AsyncIterator[Home]:
    async with home(databases) as made:
        fields = [{"name": name, "type": name, "options": OPTIONS.get(name, {})} for name in WRITABLE]
        await made.want({"tables": [{"name": "All", "fields": fields}]})
        yield made


async def comes_back(base: Home, name: str, value: str) -> str:
    """Put JSON into the column of a type and return the JSON that comes out."""
    column = base.column(WRITABLE.index(name)).strip('"')
    async with base.owner():
        return str(
            await base.conn.fetchval(
                f'insert into {base.table()} (id, "{column}") select $1::text, new."{column}"'
                f" from jsonb_populate_record(null::{base.table()}, jsonb_build_object($2::text, $3::text::jsonb))"
                f' as new returning to_jsonb("{column}")::text',
                ids.new(),
                column,
                value,
            )
        )


@pytest.mark.parametrize("name", WRITABLE)
@given(data=st.data())
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_what_the_check_accepts_the_column_accepts(base: Home, name: str, data: st.DataObject) -> None:
    value = json.dumps(data.draw(LIKELY[name] | ANY_JSON))
    kind = TYPES[name]
    adapter = TypeAdapter(kind.annotation(kind.options.model_validate(OPTIONS.get(name, {}))))
    try:
        adapter.validate_json(value, strict=True)
    except ValidationError:
        return
    if value != "null":
        adapter.validate_json(await comes_back(base, name, value), strict=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, options, good, _ in VALUES
        if name in WRITABLE and (options == {} or name.endswith("select"))
        for value in good
    ],
    ids=lambda part: str(part)[:40],
)
async def test_every_good_value_comes_back(base: Home, name: str, value: str) -> None:
    kind = TYPES[name]
    adapter = TypeAdapter(kind.annotation(kind.options.model_validate(OPTIONS.get(name, {}))))
    adapter.validate_json(await comes_back(base, name, value), strict=True)
