"""A record's history: every change once, the newest first, with who and what, as long as it is kept."""

from typing import Any

import httpx
import pytest

from core import ids
from core.schema.ops.change_type import ChangeType
from core.schema.ops.drop_field import DropField
from core.schema.ops.rename_field import RenameField
from tests.api.data.conftest import Client
from tests.api.data.test_records import EMPTY, FULL
from tests.api.data.test_trash import made, on, step
from tests.api.data.world import FIELDS, Base, World


async def history(editor: httpx.AsyncClient, where: str, **params: Any) -> dict[str, Any]:
    answer = await editor.get(f"{where}/history", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_every_change_is_told_with_before_and_after_and_who(base: Base, client: Client) -> None:
    token = await base.token(role="editor")
    editor = client(token)
    where = await made(base, editor, **FULL)
    changed = await editor.patch(where, json={"fields": {"Count": 1, "Data": None, "Name": FULL["Name"]}})
    gone = await editor.delete(where)
    back = await editor.post(f"{where}/restore")
    found = await history(editor, where)
    assert (found["next_cursor"], found["complete"]) == (None, True)
    restored, deleted, updated, created = found["changes"]
    assert list(restored) == [
        "version", "action", "changed_at", "actor", "operation_id", "changed", "before", "after", "dropped_fields"
    ]  # fmt: skip
    every = [field["name"] for field in FIELDS]
    now = FULL | {"Count": 1, "Data": None}
    assert (created["version"], created["action"], created["before"], created["after"]) == (
        1,
        "create",
        None,
        FULL,
    )
    assert created["changed"] == every
    assert (updated["version"], updated["action"], updated["before"], updated["after"]) == (
        2,
        "update",
        FULL,
        now,
    )
    assert updated["changed"] == ["Count", "Data"]
    assert (deleted["version"], deleted["action"], deleted["before"], deleted["after"]) == (
        3,
        "delete",
        now,
        None,
    )
    assert deleted["changed"] == [name for name in every if name != "Data"]
    assert (restored["version"], restored["action"], restored["before"], restored["after"]) == (
        4,
        "restore",
        None,
        now,
    )
    for entry in found["changes"]:
        assert entry["actor"] == {"user_id": token.user_id, "token_id": token.id}
    assert [e["operation_id"] for e in found["changes"][:3]] == [
        a.headers["x-request-id"] for a in (back, gone, changed)
    ]
    assert updated["changed_at"] == changed.json()["updated_at"]


async def test_a_deleted_record_has_its_history(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor)
    await editor.delete(where)
    found = await history(editor, where)
    assert [(e["version"], e["action"]) for e in found["changes"]] == [(2, "delete"), (1, "create")]
    for nobody in (ids.new(), "x"):
        assert (await editor.get(f"{base.path()}/{nobody}/history")).status_code == 404


async def test_pages_go_back_in_time(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor, Count=1)
    for count in range(2, 8):
        await editor.patch(where, json={"fields": {"Count": count}})
    first = await history(editor, where, limit=3)
    assert [e["after"]["Count"] for e in first["changes"]] == [7, 6, 5]
    # What is written between two pages is not met in the second.
    await editor.patch(where, json={"fields": {"Count": 8}})
    second = await history(editor, where, limit=3, cursor=first["next_cursor"])
    assert [e["after"]["Count"] for e in second["changes"]] == [4, 3, 2]
    third = await history(editor, where, limit=3, cursor=second["next_cursor"])
    assert [e["after"]["Count"] for e in third["changes"]] == [1]
    assert third["next_cursor"] is None
    other = await made(base, editor)
    foreign = await editor.get(f"{other}/history", params={"cursor": first["next_cursor"]})
    assert foreign.json()["code"] == "cursor_foreign"


async def test_a_page_ends_where_it_becomes_too_large(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor)
    for n in range(30):
        changed = await editor.patch(where, json={"fields": {"Note": str(n % 10) * 90_000}})
        assert changed.json()["version"] == n + 2
    sizes, versions = [], []
    cursor: dict[str, Any] = {}
    while True:
        page = await editor.get(f"{where}/history", params={"limit": 100} | cursor)
        sizes.append(len(page.content))
        versions += [e["version"] for e in page.json()["changes"]]
        if page.json()["next_cursor"] is None:
            break
        cursor = {"cursor": page.json()["next_cursor"]}
    assert versions == [*range(31, 0, -1)]
    assert len(sizes) == 2
    assert max(sizes) < 4_100_000


async def test_names_and_types_are_todays(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor, Count=5, Note="old", Mail="a@b.co")
    await editor.patch(where, json={"fields": {"Count": 6, "Note": None}})
    dropped = on(base, "Note")["field_id"]
    await step(base, RenameField(new_name="Total", **on(base, "Count")))
    await step(base, DropField(**on(base, "Note")))
    kind = {"old_options": {}, "new_options": {"precision": 20, "scale": 2}}
    await step(base, ChangeType(old_type="integer", new_type="number", **kind, **on(base, "Count")))
    updated, created = (await history(editor, where))["changes"]
    assert (updated["changed"], updated["before"]["Total"], updated["after"]["Total"]) == (
        ["Total"],
        5.0,
        6.0,
    )
    assert (updated["dropped_fields"], created["dropped_fields"]) == ([dropped], [dropped])
    assert "Note" not in created["after"]
    assert "old" not in str(created)
    assert created["after"] == {
        name: value for name, value in (EMPTY | {"Name": "a", "Mail": "a@b.co", "Total": 5.0}).items()
        if name not in ("Note", "Count")
    }  # fmt: skip


async def test_what_the_log_has_let_go_is_said_to_be_missing(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    where = await made(base, editor)
    await editor.patch(where, json={"fields": {"Count": 1}})

    async def forget(version: int) -> None:
        async with world.databases.administer("data") as conn:
            await conn.execute(
                "delete from platform.changes where tenant_id = $1 and version = $2", base.tenant_id, version
            )

    await forget(1)
    found = await history(editor, where)
    assert ([e["version"] for e in found["changes"]], found["complete"]) == ([2], False)
    await forget(2)
    assert await history(editor, where) == {"changes": [], "next_cursor": None, "complete": False}
    await editor.delete(where)
    await forget(3)
    assert (await editor.get(f"{where}/history")).status_code == 404
    assert (await editor.post(f"{where}/restore")).status_code == 404


async def test_who_may_read_it(base: Base, client: Client, editor: httpx.AsyncClient, world: World) -> None:
    where = await made(base, editor, Note="secret")
    writer = client(await base.token("records:write"))
    refused = await writer.get(f"{where}/history")
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    assert len((await history(client(await base.token(role="viewer")), where))["changes"]) == 1
    record_id = where.rpartition("/")[2]
    sibling = await world.base(base.tenant_id)
    await sibling.add_table("Tasks")
    sibling_here = f"/bases/{sibling.id}/tables/{base.tables['Tasks'].id}/records/{record_id}"
    stranger = await world.tenant()
    await stranger.add_table("Tasks")
    for token, paths in (
        (
            await sibling.token(workspace_id=sibling.workspace_id),
            (where, sibling_here, f"{sibling.path()}/{record_id}"),
        ),
        (await stranger.token(), (where, f"{stranger.path()}/{record_id}")),
    ):
        for path in paths:
            answer = await client(token).get(f"{path}/history")
            assert answer.status_code == 404
            assert "secret" not in answer.text


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "since=1", "limit=%FF"])
async def test_bad_parameters_are_refused(base: Base, editor: httpx.AsyncClient, query: str) -> None:
    where = await made(base, editor)
    answer = await editor.get(f"{where}/history?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"]
