"""`Prefer: tx=rollback`: answered as if it had been done, and nothing was."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.data import preferences
from core.errors import BadRequest
from tests.api.data.world import Base, World

DRY = {"Prefer": "tx=rollback"}


async def test_every_write_can_be_tried_without_a_trace(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    path = base.path()
    rows = [{"fields": {"Name": n, "Count": 1, "Mail": f"{n}@b.co"}} for n in "abc"]
    made = (await editor.post(path, json={"records": rows})).json()["records"]
    one, two, three = (r["id"] for r in made)
    new = {"Name": "d", "Mail": "d@b.co"}
    each, few = {"mode": "per_row"}, {"filter": "Count.eq.1", "max-affected": "3"}
    calls: list[tuple[str, str, int, dict[str, Any]]] = [
        ("POST", path, 201, {"json": {"fields": {"Name": "d"}}}),
        ("POST", path, 201, {"json": {"records": [{"fields": {"Name": "d"}}]}}),
        ("POST", path, 207, {"params": each, "json": {"records": [{"fields": {"Name": "d"}}, rows[0]]}}),
        ("POST", path, 200, {"params": {"upsert": "Mail"}, "json": {"records": [rows[0] | {"fields": new}]}}),
        ("PATCH", f"{path}/{one}", 200, {"json": {"fields": {"Count": 2}}}),
        ("PATCH", path, 200, {"json": {"records": [{"id": two, "fields": {"Count": 2}}]}}),
        ("PATCH", path, 200, {"params": few, "json": {"fields": {"Count": 2}}}),
        ("PUT", f"{path}/{one}", 200, {"json": {"fields": {"Name": "e"}}}),
        ("DELETE", f"{path}/{three}", 200, {}),
        ("DELETE", path, 200, {"params": {"id": three}}),
        ("DELETE", path, 200, {"params": few}),
    ]  # fmt: skip
    for n, (method, url, status, more) in enumerate(calls):
        key = {"Idempotency-Key": f"dry {n}"}
        for _ in range(2):
            dry = await editor.request(method, url, headers=DRY | key, **more)
            assert (dry.status_code, dry.headers.get("preference-applied")) == (status, "tx=rollback"), (
                dry.text
            )
            assert "idempotency-hit" not in dry.headers
    assert (await editor.get(path)).json()["records"] == made
    assert len(await world.changes(base)) == 3
    changed = await editor.patch(f"{path}/{one}", json={"fields": {"Count": 2}}, headers=DRY)
    assert (changed.json()["version"], changed.json()["fields"]["Count"]) == (2, 2)
    # The key was left free, and what comes under it now is done.
    done = await editor.post(path, json={"fields": {"Name": "d"}}, headers={"Idempotency-Key": "dry 0"})
    assert done.status_code == 201
    assert "preference-applied" not in done.headers
    assert len(await world.changes(base)) == 4


async def test_what_would_be_refused_is_refused(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    path = base.path()
    made = await editor.post(path, json={"fields": {"Name": "a", "Mail": "a@b.co"}})
    where = made.headers["location"]
    for method, url, status, more in (
        ("POST", path, 409, {"json": {"fields": {"Name": "b", "Mail": "a@b.co"}}}),
        ("POST", path, 422, {"json": {"fields": {}}}),
        ("PATCH", where, 412, {"json": {"fields": {"Count": 1}}, "headers": {"If-Match": '"v9"'}}),
        ("DELETE", f"{path}/{base.id}", 404, {}),
    ):  # fmt: skip
        headers = DRY | more.pop("headers", {})
        answer = await editor.request(method, url, headers=headers, **more)
        assert answer.status_code == status
    # The connections that were refused in the middle of it serve the next calls as ever.
    for n in range(4):
        assert (await editor.post(path, json={"fields": {"Name": f"{n}"}})).status_code == 201
    assert len(await world.changes(base)) == 5


@pytest.mark.parametrize(
    "sent", ["foo", "respond-async, wait=10", 'foo="a,b"; bar', "tx=maybe", "return=minimal", '=,;"', "tx"]
)
async def test_what_is_not_known_is_ignored_unless_it_is_to_be_refused(
    base: Base, editor: httpx.AsyncClient, world: World, sent: str
) -> None:
    body = {"fields": {"Name": "a"}}
    strict = await editor.post(base.path(), json=body, headers={"Prefer": f"handling=strict, {sent}"})
    assert (strict.status_code, strict.json()["errors"][0]["pointer"]) == (400, "Prefer")
    assert await world.changes(base) == []
    done = await editor.post(base.path(), json=body, headers={"Prefer": sent})
    assert done.status_code == 201
    assert len(await world.changes(base)) == 1


async def test_a_preference_may_stand_in_any_of_the_lines(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    for lines in (
        ["tx=rollback", "wait=1"],
        ["wait=1", "TX = rollback ; now"],
        [", ,handling=strict", 'tx="rollback"', ""],
        ["tx=rollback, tx=commit"],
    ):
        headers = [*editor.headers.raw, *((b"prefer", line.encode()) for line in lines)]
        answer = await editor.post(base.path(), json={"fields": {"Name": "a"}}, headers=headers)
        assert answer.headers["preference-applied"] == "tx=rollback"
    assert await world.changes(base) == []


@given(st.lists(st.text(max_size=30).map(lambda text: text.encode("latin-1", "replace")), max_size=4))
def test_any_header_is_read(lines: list[bytes]) -> None:
    found = preferences.read(lines)
    assert found.max_affected is None or 1 <= found.max_affected <= 1000


@given(st.integers(-5, 2000), st.sampled_from(["", " ", "\t"]))
def test_a_number_of_records_is_one_from_1_to_1000(number: int, space: str) -> None:
    line = f"max-affected{space}={space}{number}".encode()
    assert preferences.read([line]).max_affected == (number if 1 <= number <= 1000 else None)
    if not 1 <= number <= 1000:
        with pytest.raises(BadRequest):
            preferences.read([line, b"handling=strict"])
