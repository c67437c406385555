"""Reading the past: a record and a table as they were at a moment, as far back as the change log is kept."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from core.schema.ops.drop_field import DropField
from tests.api.data.conftest import Client
from tests.api.data.test_history import history
from tests.api.data.test_records import EMPTY, FULL
from tests.api.data.test_trash import age, made, on, step
from tests.api.data.world import Base, World


async def moments(editor: httpx.AsyncClient, where: str) -> dict[int, str]:
    """When each version of a record was written."""
    found = await history(editor, where, limit=100)
    return {entry["version"]: entry["changed_at"] for entry in found["changes"]}


def just_before(moment: str) -> str:
    return (datetime.fromisoformat(moment) - timedelta(microseconds=1)).isoformat()


async def listed(editor: httpx.AsyncClient, base: Base, **params: Any) -> list[dict[str, Any]]:
    """A table as it was, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = await editor.get(base.path(), params=params | cursor)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["records"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_a_record_as_it_was(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor, **FULL)
    states = [(await editor.get(where)).json()]
    states.append((await editor.patch(where, json={"fields": {"Count": 1, "Tags": []}})).json())
    await editor.delete(where)
    await editor.post(f"{where}/restore")
    states.append((await editor.get(where)).json())
    at = await moments(editor, where)
    for version, state in ((1, states[0]), (2, states[1]), (4, states[2])):
        then = await editor.get(where, params={"as_of": at[version]})
        assert (then.status_code, then.json(), then.headers["etag"]) == (200, state, f'"v{version}"')
        assert list(then.json()["fields"]) == list(state["fields"])
    for moment in (just_before(at[1]), at[3], just_before(at[4])):
        assert (await editor.get(where, params={"as_of": moment})).status_code == 404
    assert (await editor.get(where, params={"as_of": just_before(at[3])})).json() == states[1]
    few = await editor.get(where, params={"as_of": at[1], "fields": "Count"})
    assert few.json()["fields"] == {"Count": FULL["Count"]}
    same = await editor.get(where, params={"as_of": at[2]}, headers={"If-None-Match": '"v2"'})
    assert same.status_code == 304


async def test_a_table_as_it_was(base: Base, editor: httpx.AsyncClient) -> None:
    rows = [{"fields": {"Name": f"n{n}", "Count": n}} for n in range(10)]
    records = (await editor.post(base.path(), json={"records": rows})).json()["records"]
    where = [f"{base.path()}/{record['id']}" for record in records]
    await editor.patch(where[0], json={"fields": {"Count": 100}})
    for n in (1, 2, 9):
        await editor.delete(where[n])
    await editor.post(f"{where[2]}/restore")
    at = (await editor.get(base.path(), params={"limit": 1})).json()["records"][0]["updated_at"]
    moment = (await moments(editor, where[2]))[3]
    present = (await editor.get(base.path())).json()["records"]
    # And later all of it changes again.
    await editor.post(f"{where[1]}/restore")
    await editor.patch(where[3], json={"fields": {"Count": 300}})
    await editor.delete(where[4])
    await editor.post(base.path(), json={"fields": {"Name": "new"}})
    assert at < moment
    for limit in (1, 2, 3, 100):
        assert await listed(editor, base, as_of=moment, limit=limit) == present
    assert await listed(editor, base, as_of=records[0]["created_at"]) == records
    assert await listed(editor, base, as_of=just_before(records[0]["created_at"])) == []
    assert (
        await listed(editor, base, as_of=datetime.now(UTC).isoformat())
        == (await editor.get(base.path())).json()["records"]
    )
    names = await listed(editor, base, as_of=moment, fields="Name")
    assert [r["fields"] for r in names] == [{"Name": r["fields"]["Name"]} for r in present]


async def test_a_page_of_the_past_looks_at_a_bounded_number_of_records(
    base: Base, editor: httpx.AsyncClient
) -> None:
    old = await made(base, editor)
    moment = (await moments(editor, old))[1]
    for turn in range(3):
        rows = [{"fields": {"Name": f"{turn} {n}"}} for n in range(1000)]
        assert (await editor.post(base.path(), json={"records": rows})).status_code == 201
    pages = []
    cursor: dict[str, Any] = {}
    while True:
        page = (await editor.get(base.path(), params={"as_of": moment, "limit": 5} | cursor)).json()
        pages.append([f"{base.path()}/{r['id']}" for r in page["records"]])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == [[old], [], [], []]


async def test_a_page_of_the_past_reads_a_bounded_number_of_deletions(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """More deletions since than a page reads, of one record and of many, hide no record on either side of them."""
    rows = [{"fields": {"Name": f"{n}", "Count": n}} for n in range(1000)]
    records = [
        record
        for _ in range(2)
        for record in (await editor.post(base.path(), json={"records": rows})).json()["records"]
    ]
    moment = datetime.now(UTC).isoformat()
    table = f'tenant_{base.tenant_id}."t_{base.tables["Tasks"].id}"'
    gone = [record["id"] for record in records[100:1900]]
    async with world.databases.administer("data") as conn:
        for turn in range(3):
            await conn.execute(f"delete from {table} where id = any ($1)", gone)
            for record_id in gone[:2]:
                await conn.execute(
                    f'insert into {table} (id, version, "f_{base.tables["Tasks"].fields[0].id}")'
                    " select $1, $2, 'again'",
                    record_id,
                    3 + 2 * turn,
                )
    assert await listed(editor, base, as_of=moment, limit=1000) == records
    assert await listed(editor, base, as_of=moment, limit=77) == records


async def test_what_the_log_let_go_is_not_missed_and_what_is_too_old_is_said_so(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """A record that has not changed for longer than the log is kept is still what it was."""
    where = await made(base, editor, Count=1)
    record_id = where.rpartition("/")[2]
    await editor.patch(where, json={"fields": {"Count": 2}})
    await age(base, record_id, 100)
    async with world.databases.administer("data") as conn:
        await conn.execute(
            "delete from platform.changes where tenant_id = $1 and version = 1", base.tenant_id
        )
    await editor.patch(where, json={"fields": {"Count": 3}})
    now = datetime.now(UTC)
    month_ago = (now - timedelta(days=30)).isoformat()
    then = await editor.get(where, params={"as_of": month_ago})
    assert (then.status_code, then.json()["version"], then.json()["fields"]["Count"]) == (200, 2, 2)
    assert await listed(editor, base, as_of=month_ago) == [then.json()]
    for path in (where, base.path()):
        old = await editor.get(path, params={"as_of": (now - timedelta(days=91)).isoformat()})
        assert (old.status_code, old.json()["code"]) == (410, "not_kept")
        assert old.json()["errors"][0]["pointer"] == "as_of"
        oldest = datetime.fromisoformat(old.json()["oldest"])
        assert timedelta(0) < oldest - (now - timedelta(days=90)) < timedelta(minutes=1)
        later = oldest + timedelta(seconds=30)
        assert (await editor.get(path, params={"as_of": later.isoformat()})).status_code == 200


async def test_fields_are_todays(base: Base, editor: httpx.AsyncClient) -> None:
    where = await made(base, editor, Note="old", Count=1)
    await editor.patch(where, json={"fields": {"Count": 2}})
    moment = (await moments(editor, where))[1]
    await step(base, DropField(**on(base, "Note")))
    then = (await editor.get(where, params={"as_of": moment})).json()
    assert then["fields"] == {k: v for k, v in (EMPTY | {"Name": "a", "Count": 1}).items() if k != "Note"}
    assert (await editor.get(where, params={"as_of": moment, "fields": "Note"})).status_code == 400


async def test_a_version_may_be_older_than_the_one_before_it(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    """A writer that waited began before the one it waited for: no version is seen before all before it are."""
    where = await made(base, editor, Count=1)
    await editor.patch(where, json={"fields": {"Count": 2}})
    await editor.patch(where, json={"fields": {"Count": 3}})
    at = await moments(editor, where)
    async with world.databases.administer("data") as conn:
        await conn.execute(
            "update platform.changes set changed_at = $2 where tenant_id = $1 and version = 3",
            base.tenant_id,
            datetime.fromisoformat(just_before(at[2])),
        )
    seen = [
        (await editor.get(where, params={"as_of": moment})).json()["fields"]["Count"]
        for moment in (at[1], just_before(at[2]), at[2], at[3])
    ]
    assert seen == [1, 1, 3, 3]
    for moment, count in ((just_before(at[2]), 1), (at[2], 3)):
        assert [r["fields"]["Count"] for r in await listed(editor, base, as_of=moment)] == [count]


async def test_a_page_ends_where_it_becomes_too_large(base: Base, editor: httpx.AsyncClient) -> None:
    for n in range(3):
        await editor.post(
            base.path(),
            json={"records": [{"fields": {"Name": f"{n}{i}", "Note": "x" * 90_000}} for i in range(20)]},
        )
    moment = datetime.now(UTC).isoformat()
    answer = await editor.get(base.path(), params={"as_of": moment, "limit": 1000})
    assert 3_500_000 < len(answer.content) < 4_100_000
    assert answer.json()["next_cursor"] is not None
    assert len(await listed(editor, base, as_of=moment, limit=1000)) == 60


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("as_of=yesterday", "as_of", "invalid_time"),
        ("as_of=", "as_of", "invalid_time"),
        ("as_of=2026-11-24", "as_of", "invalid_time"),
        ("as_of=2026-11-24T12:00:00", "as_of", "invalid_time"),
        ("as_of=2026-11-24T12:00:00+00:00", "as_of", "invalid_time"),
        ("as_of=2026-02-30T12:00:00Z", "as_of", "invalid_time"),
        ("as_of=infinity", "as_of", "invalid_time"),
        ("as_of=9999-12-31T23:59:59Z", "as_of", "in_the_future"),
        ("as_of=2026-11-24T12:00:00Z&as_of=2026-11-24T12:00:00Z", "as_of", "repeated_parameter"),
        ("asof=2026-11-24T12:00:00Z", "asof", "unknown_parameter"),
    ],
)
async def test_bad_moments_are_refused(
    base: Base, editor: httpx.AsyncClient, query: str, pointer: str, code: str
) -> None:
    where = await made(base, editor)
    for path in (where, base.path()):
        answer = await editor.get(f"{path}?{query}")
        assert answer.status_code == 400, answer.text
        assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]


@pytest.mark.parametrize(
    "more", ["sort=Name", "filter=Name.eq.a", "view=x", "count=exact", "limit=0", "limit=1001", "fields=Nope"]
)
async def test_the_past_has_neither_filter_nor_sort(base: Base, editor: httpx.AsyncClient, more: str) -> None:
    answer = await editor.get(f"{base.path()}?as_of={datetime.now(UTC).isoformat()[:19]}Z&{more}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == more.partition("=")[0]


async def test_a_cursor_belongs_to_its_moment(base: Base, editor: httpx.AsyncClient) -> None:
    await editor.post(base.path(), json={"records": [{"fields": {"Name": n}} for n in "ab"]})
    now = datetime.now(UTC)
    page = (await editor.get(base.path(), params={"as_of": now.isoformat(), "limit": 1})).json()
    for other in ({"as_of": just_before(now.isoformat())}, {}):
        foreign = await editor.get(base.path(), params={"cursor": page["next_cursor"]} | other)
        assert (foreign.status_code, foreign.json()["code"]) == (410, "cursor_foreign")


async def test_who_may_read_the_past(
    base: Base, client: Client, editor: httpx.AsyncClient, world: World
) -> None:
    where = await made(base, editor, Note="secret")
    await editor.delete(where)
    now = datetime.now(UTC).isoformat()
    moment = just_before((await moments(editor, where))[2])
    writer = client(await base.token("records:write"))
    for path in (where, base.path()):
        assert (await writer.get(path, params={"as_of": moment})).status_code == 403
    sibling = await world.base(base.tenant_id)
    await sibling.add_table("Tasks")
    http = client(await sibling.token(base_id=sibling.id))
    record_id = where.rpartition("/")[2]
    for path in (where, base.path(), f"{sibling.path()}/{record_id}"):
        answer = await http.get(path, params={"as_of": moment})
        assert answer.status_code == 404
        assert "secret" not in answer.text
    assert (await http.get(sibling.path(), params={"as_of": now})).json()["records"] == []
    assert "secret" in json.dumps(await listed(editor, base, as_of=moment))
