"""A key that stands twice in one object is found wherever it is, and named by its pointer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import keys
from core.errors import BadRequest, Invalid

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b'{"a":1,"a":1}', "/a"),
        (b'{"b":1,"a":1,"c":{},"a":2,"b":3}', "/b"),
        (b'{"a":1,"\\u0061":2}', "/a"),
        (b'[{"a":1},{"a":1,"a":1}]', "/1/a"),
        (b'{"a":[[],{"b":1},{"c/d":{"e~":1,"e~":2}}]}', "/a/2/c~1d/e~0"),
        (b'{"a":{"x":1,"x":2},"a":3}', "/a"),
        (b'{"a":{"x":1},"b":{"x":1,"x":1},"c":{"y":1,"y":1}}', "/b/x"),
    ],
)
def test_it_is_refused_where_it_stands(raw: bytes, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        keys.refuse_repeated(raw)
    (fault,) = refused.value.faults
    assert (fault.pointer, fault.code) == (pointer, "duplicate_key")


@given(VALUES)
def test_what_holds_each_key_once_passes(value: Any) -> None:
    keys.refuse_repeated(json.dumps(value).encode())


@given(VALUES, st.text(), st.sampled_from(['{"a":[%s]}', '[0,%s,{"a":1}]', "%s"]))
def test_what_holds_one_twice_does_not(value: Any, name: str, around: str) -> None:
    member = f"{json.dumps(name)}:{json.dumps(value)}"
    with pytest.raises(Invalid):
        keys.refuse_repeated((around % f"{{{member},{member}}}").encode())


def test_what_is_too_deep_to_be_read_is_refused() -> None:
    with pytest.raises(BadRequest):
        keys.refuse_repeated(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
