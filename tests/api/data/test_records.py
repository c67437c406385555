"""Records through the Data API: what is written is what is read, once, in order, and told."""

import json

import httpx
import pytest

from core import ids
from tests.api.data.world import FIELDS, Base, World

FULL = {
    "Name": "a name",
    "Note": "long\ntext",
    "Count": 9223372036854775807,
    "Amount": 12.5,
    "Done": True,
    "Due": "2024-02-29",
    "At": "2024-01-01T12:00:00.123456+00:00",
    "Status": "open",
    "Tags": ["b", "a"],
    "Mail": "a@example.com",
    "Site": "https://example.com/",
    "Data": {"a": [1, 2.5, None, "x"]},
    FIELDS[-1]["name"]: "'quoted' and ünïcödé \U0001f600",
}
EMPTY = {field["name"]: None for field in FIELDS}


async def test_a_record_comes_back_as_it_was_sent(base: Base, editor: httpx.AsyncClient) -> None:
    made = await editor.post(base.path(), json={"fields": FULL})
    assert made.status_code == 201
    record = made.json()
    assert list(record) == ["id", "created_at", "updated_at", "version", "fields"]
    assert record["fields"] == FULL
    assert record["version"] == 1
    assert made.headers["etag"] == '"v1"'
    assert made.headers["location"] == f"{base.path()}/{record['id']}"
    assert ids.is_ulid(record["id"])
    assert ids.is_ulid(made.headers["x-request-id"])
    read = await editor.get(made.headers["location"])
    assert read.json() == record
    assert read.headers["etag"] == '"v1"'
    assert list(read.json()["fields"]) == [field["name"] for field in FIELDS]


async def test_many_are_answered_in_the_order_in_which_they_were_sent(
    base: Base, editor: httpx.AsyncClient
) -> None:
    sent = [{"fields": {"Name": f"n{n}", "Count": n % 7}} for n in range(1000)]
    made = await editor.post(base.path(), json={"records": sent})
    assert made.status_code == 201
    records = made.json()["records"]
    assert [r["fields"]["Name"] for r in records] == [s["fields"]["Name"] for s in sent]
    assert [r["id"] for r in records] == sorted({r["id"] for r in records})
    too_many = await editor.post(base.path(), json={"records": [*sent, sent[0]]})
    assert too_many.status_code == 422
    assert too_many.json()["errors"][0]["pointer"] == "/records"


async def test_patch_merges_and_put_replaces(base: Base, editor: httpx.AsyncClient) -> None:
    where = (await editor.post(base.path(), json={"fields": FULL})).headers["location"]
    merged = (await editor.patch(where, json={"fields": {"Count": 1, "Data": None, "Tags": None}})).json()
    assert merged["fields"] == FULL | {"Count": 1, "Data": None, "Tags": None}
    assert merged["version"] == 2
    replaced = (await editor.put(where, json={"fields": {"Name": "other", "Done": False}})).json()
    assert replaced["fields"] == EMPTY | {"Name": "other", "Done": False}
    assert replaced["version"] == 3
    assert replaced["created_at"] == merged["created_at"]
    assert replaced["updated_at"] > merged["updated_at"]
    assert (await editor.get(where)).json() == replaced


async def test_what_would_not_change_is_not_written(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    made = await editor.post(base.path(), json={"fields": FULL})
    where = made.headers["location"]
    for answer in (
        await editor.patch(where, json={"fields": {"Count": FULL["Count"], "Amount": 12.50}}),
        await editor.patch(where, json={"fields": {}}),
        await editor.put(where, json={"fields": FULL}),
        await editor.patch(
            base.path(), json={"records": [{"id": made.json()["id"], "fields": {"Name": "a name"}}]}
        ),
    ):
        assert answer.status_code == 200
        record = answer.json()
        assert record.get("records", [record])[0] == made.json()
    assert len(await world.changes(base)) == 1


async def test_a_batch_changes_each_record_its_own_way(base: Base, editor: httpx.AsyncClient) -> None:
    rows = [{"fields": {"Name": f"n{n}", "Count": n}} for n in range(4)]
    made = (await editor.post(base.path(), json={"records": rows})).json()["records"]
    sent = [
        {"id": made[2]["id"], "fields": {"Count": 20}},
        {"id": made[0]["id"], "fields": {"Name": "zero", "Tags": ["a"]}, "version": 1},
        {"id": made[3]["id"], "fields": {}},
        {"id": made[1]["id"], "fields": {"Count": None}},
    ]
    changed = (await editor.patch(base.path(), json={"records": sent})).json()["records"]
    assert [c["id"] for c in changed] == [s["id"] for s in sent]
    values = [(c["fields"]["Name"], c["fields"]["Count"], c["fields"]["Tags"], c["version"]) for c in changed]
    assert values == [("n2", 20, None, 2), ("zero", 0, ["a"], 2), ("n3", 3, None, 1), ("n1", None, None, 2)]
    put = [{"id": c["id"], "fields": {"Name": "x"}, "version": c["version"]} for c in changed]
    replaced = (await editor.put(base.path(), json={"records": put})).json()["records"]
    assert [(r["fields"], r["version"]) for r in replaced] == [
        (EMPTY | {"Name": "x"}, v) for v in (3, 3, 2, 3)
    ]


async def test_a_batch_is_done_wholly_or_not_at_all(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    made = (await editor.post(base.path(), json={"records": [{"fields": {"Name": n}} for n in "ab"]})).json()
    one, two = (record["id"] for record in made["records"])
    nobody = ids.new()
    missing = await editor.patch(
        base.path(), json={"records": [{"id": one, "fields": {"Name": "c"}}, {"id": nobody, "fields": {}}]}
    )
    assert missing.status_code == 404
    assert [e["pointer"] for e in missing.json()["errors"]] == ["/records/1/id"]
    stale = await editor.patch(
        base.path(),
        json={
            "records": [
                {"id": one, "fields": {"Name": "c"}},
                {"id": two, "fields": {"Name": "d"}, "version": 9},
            ]
        },
    )
    assert stale.status_code == 412
    assert [e["pointer"] for e in stale.json()["errors"]] == ["/records/1/version"]
    assert "version 1" in stale.json()["errors"][0]["detail"]
    gone = await editor.delete(base.path(), params=[("id", one), ("id", nobody)])
    assert gone.status_code == 404
    assert [e["pointer"] for e in gone.json()["errors"]] == ["id[1]"]
    assert [change["action"] for change in await world.changes(base)] == ["create", "create"]


async def test_deletes_answer_the_version_that_a_restore_would_continue(
    base: Base, editor: httpx.AsyncClient
) -> None:
    made = (await editor.post(base.path(), json={"records": [{"fields": {"Name": n}} for n in "abc"]})).json()
    one, two, three = (record["id"] for record in made["records"])
    gone = await editor.delete(f"{base.path()}/{one}")
    assert gone.status_code == 200
    assert gone.json() == {"id": one, "version": 2, "deleted": True, "purge_at": gone.json()["purge_at"]}
    assert (await editor.get(f"{base.path()}/{one}")).status_code == 404
    assert (await editor.delete(f"{base.path()}/{one}")).status_code == 404
    both = await editor.delete(base.path(), params=[("id", three), ("id", two)])
    assert [r["id"] for r in both.json()["records"]] == [three, two]
    assert (await editor.get(base.path())).json() == {"records": [], "next_cursor": None}


async def test_every_write_is_one_change_row(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    made = await editor.post(base.path(), json={"fields": {"Name": "a"}})
    changed = await editor.patch(made.headers["location"], json={"fields": {"Name": "b"}})
    gone = await editor.delete(made.headers["location"])
    rows = await world.changes(base)
    assert [(r["action"], r["version"]) for r in rows] == [("create", 1), ("update", 2), ("delete", 3)]
    assert [r["operation_id"] for r in rows] == [a.headers["x-request-id"] for a in (made, changed, gone)]
    column = f"f_{base.tables['Tasks'].fields[0].id}"
    assert rows[0]["before"] is None
    assert json.loads(rows[0]["after"])[column] == "a"
    assert (json.loads(rows[1]["before"])[column], json.loads(rows[1]["after"])[column]) == ("a", "b")
    assert json.loads(rows[2]["before"])[column] == "b"
    assert rows[2]["after"] is None


async def test_a_unique_value_may_be_there_once(base: Base, editor: httpx.AsyncClient) -> None:
    await editor.post(base.path(), json={"fields": {"Name": "a", "Mail": "a@b.co"}})
    twice = await editor.post(base.path(), json={"fields": {"Name": "b", "Mail": "a@b.co"}})
    assert (twice.status_code, twice.json()["code"]) == (409, "duplicate_value")
    assert twice.json()["errors"][0]["pointer"] == "/fields/Mail"
    rows = [{"fields": {"Name": "c", "Mail": mail}} for mail in ("x@b.co", "a@b.co", "y@b.co", "y@b.co")]
    many = await editor.post(base.path(), json={"records": rows})
    assert [e["pointer"] for e in many.json()["errors"]] == [f"/records/{n}/fields/Mail" for n in (1, 2, 3)]
    assert "a@b.co" not in many.text


@pytest.mark.parametrize("spelling", ["If-Match", "version"])
async def test_a_stale_version_is_refused_with_the_present_one(
    base: Base, editor: httpx.AsyncClient, spelling: str
) -> None:
    where = (await editor.post(base.path(), json={"fields": {"Name": "a"}})).headers["location"]
    record_id = where.rpartition("/")[2]
    await editor.patch(where, json={"fields": {"Name": "b"}}, headers={"If-Match": '"v1"'})
    if spelling == "If-Match":
        stale = await editor.patch(where, json={"fields": {"Name": "c"}}, headers={"If-Match": '"v1"'})
        assert stale.json()["version"] == 2
        assert stale.headers["etag"] == '"v2"'
        assert (await editor.delete(where, headers={"If-Match": '"v1"'})).status_code == 412
    else:
        stale = await editor.patch(
            base.path(), json={"records": [{"id": record_id, "fields": {"Name": "c"}, "version": 1}]}
        )
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert (await editor.get(where)).json()["fields"]["Name"] == "b"
    for tag in ('"v2"', "*", '"v7", "v2"', '"other", "v2"'):
        assert (await editor.patch(where, json={"fields": {}}, headers={"If-Match": tag})).status_code == 200
    for tag in ('W/"v2"', '"v3"', '"other"'):
        assert (await editor.patch(where, json={"fields": {}}, headers={"If-Match": tag})).status_code == 412


async def test_a_reader_who_has_the_version_is_told_so(base: Base, editor: httpx.AsyncClient) -> None:
    where = (await editor.post(base.path(), json={"fields": {"Name": "a"}})).headers["location"]
    for tag in ('"v1"', 'W/"v1"', "*"):
        same = await editor.get(where, headers={"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"v1"')
    assert (await editor.get(where, headers={"If-None-Match": '"v2"'})).status_code == 200
