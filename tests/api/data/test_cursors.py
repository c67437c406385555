"""Cursors: good for one query, for a day, in one spelling; what cannot be gone on from says why."""

import base64
import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from api.data.app import DataApi
from api.paging import Cursors, Unusable
from core.errors import BadRequest, Gone
from core.ids import new
from core.schema.ops.change_type import ChangeType
from core.schema.types import TYPES
from db.data.ddl import DDL
from db.data.ddl.base import Target
from tests.api.data.conftest import Client, settings_of
from tests.api.data.world import Base, World
from tests.conftest import Databases

SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
POSITIONS = st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=20), max_size=4)
CURSORS = Cursors("a secret")


def why(cursors: Cursors, query: str, cursor: str) -> str:
    with pytest.raises(Gone) as refused:
        cursors.resume(query, cursor)
    (fault,) = refused.value.faults
    assert (fault.pointer, fault.code) == ("cursor", refused.value.reason)
    return refused.value.reason


@given(query=st.text(st.characters(codec="utf-8")), position=POSITIONS)
def test_a_cursor_gives_back_its_position(query: str, position: Any) -> None:
    cursor = CURSORS.write(query, position)
    assert set(cursor) <= set(SIGNS)
    assert CURSORS.resume(query, cursor) == CURSORS.read(query, cursor) == position


@given(position=POSITIONS, data=st.data())
def test_no_other_spelling_is_read(position: Any, data: st.DataObject) -> None:
    """One sign changed, put in or left out anywhere, or signs that decode to the same bytes."""
    cursor = CURSORS.write("q", position)
    at = data.draw(st.integers(0, len(cursor) - 1))
    sign = data.draw(st.sampled_from([*SIGNS, "=", " ", "\n", "+", "/", "é"]))
    changed = data.draw(
        st.sampled_from(
            [
                cursor[:at] + sign + cursor[at + 1 :],
                cursor[:at] + sign + cursor[at:],
                cursor[:at] + cursor[at + 1 :],
                cursor + sign,
                cursor + "=" * (-len(cursor) % 4),
                cursor + "=",
            ]
        )
    )
    if changed != cursor:
        assert why(CURSORS, "q", changed) == Unusable.UNREADABLE
        with pytest.raises(BadRequest):
            CURSORS.read("q", changed)


@pytest.mark.parametrize(
    "text", ["", "=", "x", "A" * 40_000, "A" * 60_000, "\ud800", base64.b64encode(b"a" * 90).decode()]
)
def test_what_was_never_given_out_is_unreadable(text: str) -> None:
    assert why(CURSORS, "q", text) == Unusable.UNREADABLE


def test_a_cursor_of_another_query_is_foreign() -> None:
    cursor = CURSORS.write("q", ["a"])
    assert why(CURSORS, "Q", cursor) == Unusable.FOREIGN
    with pytest.raises(BadRequest):
        CURSORS.read("Q", cursor)


def test_a_cursor_is_good_for_its_age() -> None:
    now = 1_000_000.0
    cursors = Cursors("a secret", max_age_s=60, clock=lambda: now)
    cursor = cursors.write("q", ["a"])
    now += 60
    assert cursors.resume("q", cursor) == ["a"]
    now += 1
    assert why(cursors, "q", cursor) == Unusable.EXPIRED
    # Where nothing grows old with its cursor, the age means nothing.
    assert cursors.read("q", cursor) == ["a"]


def test_the_secret_before_is_still_read_and_no_longer_written() -> None:
    old, new_one = Cursors("old"), Cursors("new", previous="old")
    cursor = old.write("q", ["a"])
    assert new_one.resume("q", cursor) == ["a"]
    assert why(Cursors("new"), "q", cursor) == Unusable.UNREADABLE
    assert why(old, "q", new_one.write("q", ["a"])) == Unusable.UNREADABLE


async def filled(base: Base, editor: httpx.AsyncClient, table: str = "Tasks") -> None:
    rows = [{"fields": {"Name": f"n{n}", "Count": n}} for n in range(5)]
    assert (await editor.post(base.path(table), json={"records": rows})).status_code == 201


async def first(editor: httpx.AsyncClient, path: str, **params: Any) -> str:
    page = await editor.get(path, params={"limit": 1} | params)
    assert page.status_code == 200, page.text
    return str(page.json()["next_cursor"])


def gone(answer: httpx.Response) -> str:
    assert answer.status_code == 410, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("cursor", answer.json()["code"])
    return str(answer.json()["code"])


async def test_a_cursor_belongs_to_its_tenant_table_sort_and_filter(
    base: Base, editor: httpx.AsyncClient, world: World, client: Client
) -> None:
    await base.add_table("Others")
    await filled(base, editor)
    path = base.path()
    cursor = await first(editor, path, sort="Name", filter="Count.gte.0")
    for more in ({"limit": 3}, {"fields": "Count"}, {"limit": 1000, "fields": "Name,Count"}):
        good = {"sort": "Name", "filter": "Count.gte.0", "cursor": cursor} | more
        found = await editor.get(path, params=good)
        assert found.status_code == 200
        assert found.json()["records"][0]["fields"].get("Count", 1) == 1
    same = {"sort": "Name", "filter": "Count.gte.0", "cursor": cursor}
    assert gone(await editor.get(base.path("Others"), params=same)) == Unusable.FOREIGN
    for other in (
        {"sort": "-Name"},
        {"sort": "Name,Count"},
        {"filter": "Count.gt.0"},
        {"filter": "not(Count.lt.0)"},
    ):
        assert gone(await editor.get(path, params=same | other)) == Unusable.FOREIGN
    for text in ("", "x" * 100, "é", cursor + "=", cursor[:-1], cursor.swapcase(), " " + cursor):
        assert gone(await editor.get(path, params=same | {"cursor": text})) == Unusable.UNREADABLE
    assert gone(await editor.get(path, params={"cursor": cursor})) == Unusable.FOREIGN
    # The same question in another tenant's table, and in another base of this one.
    for other_base in (await world.tenant(), await world.base(base.tenant_id)):
        await other_base.add_table("Tasks")
        reader = client(await other_base.token())
        assert gone(await reader.get(other_base.path(), params=same)) == Unusable.FOREIGN
    # Who may not ask is told that, and not what his cursor is.
    nobody = await editor.get(path, params=same, headers={"Authorization": "Bearer pb_x"})
    assert nobody.status_code == 401
    assert (await editor.get(path.replace(base.tables["Tasks"].key, new()), params=same)).status_code == 404


async def test_a_cursor_outlives_new_fields_and_no_other_type_of_what_it_is_sorted_by(
    base: Base, editor: httpx.AsyncClient
) -> None:
    await filled(base, editor)
    cursor = await first(editor, base.path(), sort="Count")
    by_name = await first(editor, base.path(), sort="Name")
    await _count_becomes_a_number(base)
    assert gone(await editor.get(base.path(), params={"sort": "Count", "cursor": cursor})) == Unusable.FOREIGN
    assert (await editor.get(base.path(), params={"sort": "Name", "cursor": by_name})).status_code == 200


async def _count_becomes_a_number(base: Base) -> None:
    table = base.tables["Tasks"]
    (count,) = (field for field in table.fields if field.name == "Count")
    number = TYPES["number"].options().model_dump(mode="json")
    turned = ChangeType(
        pointer="", table_id=table.key, table=table.name, field_id=count.key, field=count.name,
        old_type=count.type, old_options=count.options, new_type="number", new_options=number,
    )  # fmt: skip
    await base.apply(DDL["change_type"].up(turned, Target(base.tenant_id, base.workspace_id, base.id, 1, 1)))


async def test_a_cursor_of_a_process_that_knows_more_is_not_refused(
    databases: Databases, base: Base, editor: httpx.AsyncClient
) -> None:
    """One process has heard nothing of a field's new type when a page of that order is asked for."""
    await filled(base, editor)
    assert (await editor.get(base.path(), params={"sort": "Count"})).status_code == 200
    await _count_becomes_a_number(base)
    other = DataApi(settings_of(databases))
    async with other.router.lifespan_context(other):
        transport = httpx.ASGITransport(other)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://data", headers=editor.headers
        ) as ahead:
            cursor = await first(ahead, base.path(), sort="Count")
    found = await editor.get(base.path(), params={"sort": "Count", "cursor": cursor})
    assert found.status_code == 200, found.text
    assert len(found.json()["records"]) == 4


async def test_a_cursor_of_yesterday_has_expired(base: Base, editor: httpx.AsyncClient, app: DataApi) -> None:
    await filled(base, editor)
    yesterday = Cursors("a secret of the tests", clock=lambda: time.time() - 86_401)
    fresh = await first(editor, base.path())
    query = f"{base.tenant_id} {base.id} {base.tables['Tasks'].id} id:text "
    position = app.state.parts.cursors.read(query, fresh)
    old = yesterday.write(query, position)
    assert (await editor.get(base.path(), params={"cursor": fresh})).status_code == 200
    assert gone(await editor.get(base.path(), params={"cursor": old})) == Unusable.EXPIRED


async def test_a_cursor_of_the_secret_before_is_taken_back(
    databases: Databases, base: Base, editor: httpx.AsyncClient
) -> None:
    await filled(base, editor)
    cursor = await first(editor, base.path())
    secrets = {"cursor_secret": "new", "cursor_secret_previous": "a secret of the tests"}
    rotated = DataApi(settings_of(databases, **{name: SecretStr(text) for name, text in secrets.items()}))
    async with rotated.router.lifespan_context(rotated):
        transport = httpx.ASGITransport(rotated)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://data", headers=editor.headers
        ) as reader:
            found = await reader.get(base.path(), params={"cursor": cursor, "limit": 1})
            assert found.status_code == 200
            assert gone(await editor.get(base.path(), params={"cursor": found.json()["next_cursor"]})) == (
                Unusable.UNREADABLE
            )
