"""Upserts: created, updated or unchanged by the value of a unique field, once, whoever races."""

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import ids
from tests.api.data.conftest import Client
from tests.api.data.world import Base, World

MAIL = {"upsert": "Mail"}
FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "Code", "type": "text", "unique": True},
    {"name": "Number", "type": "number", "unique": True},
    {"name": "At", "type": "datetime", "unique": True},
    {"name": "Name", "type": "text"},
    {"name": "Count", "type": "integer"},
    {"name": "Tags", "type": "multi_select", "options": {"choices": [{"name": n} for n in "abc"]}},
    {"name": "Data", "type": "json"},
)


@pytest.fixture
async def keyed(base: Base) -> Base:
    """The base, with a table that has several unique fields and nothing required."""
    await base.add_table("Keyed", FIELDS)
    return base


def outcomes(answer: httpx.Response) -> list[tuple[str, int]]:
    return [(r["status"], r["version"]) for r in answer.json()["records"]]


async def test_records_are_created_updated_and_left_as_they_are(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    def row(n: int, **more: Any) -> dict[str, Any]:
        return {"fields": {"Name": f"n{n}", "Mail": f"m{n}@b.co"} | more}

    first = await editor.post(base.path(), params=MAIL, json={"records": [row(n) for n in range(3)]})
    assert first.status_code == 200
    assert outcomes(first) == [("created", 1)] * 3
    made = [r["id"] for r in first.json()["records"]]
    sent = [row(9), row(1), row(0, Count=5), row(2), row(8)]
    second = await editor.post(base.path(), params=MAIL, json={"records": sent})
    assert outcomes(second) == [
        ("created", 1),
        ("unchanged", 1),
        ("updated", 2),
        ("unchanged", 1),
        ("created", 1),
    ]
    assert [r["id"] for r in second.json()["records"]][1:4] == [made[1], made[0], made[2]]
    changes = await world.changes(base)
    assert [c["action"] for c in changes].count("create") == 5
    assert [c["action"] for c in changes].count("update") == 1
    assert {c["operation_id"] for c in changes if c["action"] == "update"} == {second.headers["x-request-id"]}
    found = (await editor.get(f"{base.path()}/{made[0]}")).json()
    assert (found["fields"]["Count"], found["fields"]["Name"], found["version"]) == (5, "n0", 2)
    again = await editor.post(base.path(), params=MAIL, json={"records": sent})
    assert [status for status, _ in outcomes(again)] == ["unchanged"] * 5
    assert len(await world.changes(base)) == len(changes)


async def test_what_a_record_does_not_name_stays(keyed: Base, editor: httpx.AsyncClient) -> None:
    path, key = keyed.path("Keyed"), {"upsert": "Code"}
    full = {"Code": "a", "Name": "n", "Count": 1, "Tags": ["a"], "Data": {"x": 1}}
    await editor.post(
        path, params=key, json={"records": [{"fields": full}, {"fields": full | {"Code": "b"}}]}
    )
    sent = [
        {"fields": {"Code": "a", "Count": 2}},
        {"fields": {"Code": "b", "Tags": None, "Data": None}},
        {"fields": {"Code": "c", "Name": "new"}},
    ]
    answer = await editor.post(path, params=key, json={"records": sent})
    assert outcomes(answer) == [("updated", 2), ("updated", 2), ("created", 1)]
    found = {r["fields"]["Code"]: r["fields"] for r in (await editor.get(path)).json()["records"]}
    nothing = {"Number": None, "At": None}
    assert found["a"] == full | nothing | {"Count": 2}
    assert found["b"] == full | nothing | {"Code": "b", "Tags": None, "Data": None}
    assert found["c"] == nothing | {"Code": "c", "Name": "new", "Count": None, "Tags": None, "Data": None}
    keys_only = [{"fields": {"Code": "a"}}, {"fields": {"Code": "d"}}]
    answer = await editor.post(path, params=key, json={"records": keys_only})
    assert outcomes(answer) == [("unchanged", 2), ("created", 1)]


async def test_one_record_by_itself(base: Base, editor: httpx.AsyncClient) -> None:
    body = {"fields": {"Name": "a", "Mail": "a@b.co"}}
    made = await editor.post(base.path(), params=MAIL, json=body)
    assert (made.status_code, made.json()["status"], made.headers["etag"]) == (201, "created", '"v1"')
    record_id = made.json()["id"]
    assert made.headers["location"] == f"{base.path()}/{record_id}"
    same = await editor.post(base.path(), params=MAIL, json=body)
    assert (same.status_code, same.json()) == (200, {"status": "unchanged", "id": record_id, "version": 1})
    body["fields"]["Name"] = "b"
    changed = await editor.post(base.path(), params=MAIL, json=body)
    assert (changed.status_code, changed.json()) == (
        200,
        {"status": "updated", "id": record_id, "version": 2},
    )
    assert changed.headers["etag"] == '"v2"'
    for wrong in ({"Name": "b"}, {"Name": "b", "Mail": None}):
        answer = await editor.post(base.path(), params=MAIL, json={"fields": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/fields/Mail")


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("Code", "a", "a"),
        ("Number", 1, 1.0),
        ("At", "2024-01-01T12:00:00Z", "2024-01-01T13:00:00+01:00"),
    ],
)
@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("mode", ["atomic", "per_row"])
async def test_the_same_key_twice_is_refused_with_both_places(
    keyed: Base, editor: httpx.AsyncClient, key: str, one: Any, other: Any, is_there: bool, mode: str
) -> None:
    path = keyed.path("Keyed")
    if is_there:
        await editor.post(path, params={"upsert": key}, json={"fields": {key: one, "Name": "x"}})
    sent = [{"fields": {key: value, "Name": "x"}} for value in (one, None, other)]
    sent[1]["fields"][key] = "b" if key == "Code" else 7 if key == "Number" else "2025-01-01T00:00:00Z"
    answer = await editor.post(path, params={"upsert": key, "mode": mode}, json={"records": sent})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [
        (f"/records/{n}/fields/{key}", "repeated_key") for n in (0, 2)
    ]
    assert len((await editor.get(path)).json()["records"]) == is_there


async def test_a_record_without_the_key_is_refused(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    rows = [{"fields": {"Name": "a", **more}} for more in ({"Mail": "a@b.co"}, {}, {"Mail": None})]
    answer = await editor.post(base.path(), params=MAIL, json={"records": rows})
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == [f"/records/{n}/fields/Mail" for n in (1, 2)]
    assert await world.changes(base) == []
    each = await editor.post(base.path(), params=MAIL | {"mode": "per_row"}, json={"records": rows})
    assert [r["status"] for r in each.json()["records"]] == ["created", "error", "error"]


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("Mial", "unknown_field", "'Mail'"),
        ("Name", "not_unique", "unique"),
        ("id", "unknown_field", "Mail"),
        ("", "unknown_field", "Mail"),
    ],
)
async def test_only_a_unique_field_can_be_merged_on(
    base: Base, editor: httpx.AsyncClient, name: str, code: str, word: str
) -> None:
    answer = await editor.post(base.path(), params={"upsert": name}, json={"fields": {"Name": "a"}})
    assert answer.status_code == 400
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [("upsert", code)]
    assert word in answer.json()["detail"]
    assert (await editor.patch(base.path(), params=MAIL, json={"records": []})).status_code == 400


async def test_another_unique_value_that_is_taken_is_a_conflict(
    keyed: Base, editor: httpx.AsyncClient
) -> None:
    path, key = keyed.path("Keyed"), {"upsert": "Code"}
    await editor.post(
        path, json={"records": [{"fields": {"Code": c, "Number": n}} for n, c in enumerate("ab")]}
    )
    sent = [{"fields": {"Code": "c", "Number": 9}}, {"fields": {"Code": "b", "Number": 0}}]
    answer = await editor.post(path, params=key, json={"records": sent})
    assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_value")
    each = await editor.post(path, params=key | {"mode": "per_row"}, json={"records": sent})
    assert [r["status"] for r in each.json()["records"]] == ["created", "error"]
    assert each.json()["records"][1]["error"]["errors"][0]["pointer"] == "/records/1/fields/Number"


@pytest.mark.parametrize("mode", ["atomic", "per_row"])
@pytest.mark.parametrize("key", ["Code", "Number"])
async def test_racing_upserts_make_one_record_of_each_key(
    keyed: Base, editor: httpx.AsyncClient, world: World, key: str, mode: str
) -> None:
    """Also with another unique field, whose index may meet the twin first, and in whatever order the keys come."""
    path, params = keyed.path("Keyed"), {"upsert": key, "mode": mode}

    async def send(turn: int, writer: int) -> list[dict[str, Any]]:
        rows = [
            {"fields": {"Code": f"{turn} {n}", "Number": turn * 10 + n, "Count": writer}} for n in range(6)
        ]
        answer = await editor.post(path, params=params, json={"records": rows[:: 1 if writer % 2 else -1]})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["records"]
        return found

    for turn in range(8):
        told = [row for rows in await asyncio.gather(*(send(turn, w) for w in range(8))) for row in rows]
        assert [row["status"] for row in told].count("created") == 6
        assert len({row["id"] for row in told}) == 6
    records = (await editor.get(path, params={"limit": 1000})).json()["records"]
    assert len(records) == 48
    # Every version that was told of is one change, and nothing else is.
    changes = await world.changes(keyed)
    assert sorted((c["record_id"], c["version"]) for c in changes) == sorted(
        (r["id"], v) for r in records for v in range(1, r["version"] + 1)
    )


_FIELDS = st.fixed_dictionaries(
    {}, optional={"Name": st.sampled_from([None, "x", "y"]), "Count": st.sampled_from([None, 1, 2])}
)
_CALLS = st.lists(
    st.dictionaries(st.sampled_from("abcde"), _FIELDS, min_size=1, max_size=5), min_size=1, max_size=6
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=_CALLS, mode=st.sampled_from(["atomic", "per_row"]))
async def test_any_upserts_leave_what_a_model_of_them_leaves(
    keyed: Base, editor: httpx.AsyncClient, calls: list[dict[str, dict[str, Any]]], mode: str
) -> None:
    path, prefix = keyed.path("Keyed"), ids.new()
    model: dict[str, dict[str, Any]] = {}
    versions: dict[str, int] = {}
    for call in calls:
        expected = []
        for code, sent in call.items():
            there = model.get(code)
            after = {"Name": None, "Count": None} | (there or {}) | sent
            status = "created" if there is None else "unchanged" if there == after else "updated"
            model[code] = after
            versions[code] = versions.get(code, 0) + (status != "unchanged")
            expected.append((status, versions[code]))
        rows = [{"fields": {"Code": prefix + code} | sent} for code, sent in call.items()]
        answer = await editor.post(path, params={"upsert": "Code", "mode": mode}, json={"records": rows})
        assert outcomes(answer) == expected
    listed = await editor.get(path, params={"limit": 1000, "filter": f"Code.gte.{prefix}"})
    found = {r["fields"]["Code"].removeprefix(prefix): r for r in listed.json()["records"]}
    assert {code: {n: r["fields"][n] for n in ("Name", "Count")} for code, r in found.items()} == model
    assert {code: r["version"] for code, r in found.items()} == versions


async def test_a_thousand_at_once_with_fields_of_their_own(keyed: Base, editor: httpx.AsyncClient) -> None:
    path, key = keyed.path("Keyed"), {"upsert": "Code"}
    first = [{"fields": {"Code": f"c{n}", "Count": n}} for n in range(0, 1000, 2)]
    assert outcomes(await editor.post(path, params=key, json={"records": first})) == [("created", 1)] * 500
    sent = [
        {"fields": {"Code": f"c{n}", ("Name" if n % 3 else "Count"): ("n" if n % 3 else n)}}
        for n in range(1000)
    ]
    answer = await editor.post(path, params=key, json={"records": sent})
    assert outcomes(answer) == [
        ("created", 1) if n % 2 else ("updated", 2) if n % 3 else ("unchanged", 1) for n in range(1000)
    ]


async def test_a_repeated_upsert_answers_its_first_outcomes(
    keyed: Base, editor: httpx.AsyncClient, world: World
) -> None:
    path, sent = keyed.path("Keyed"), {"Idempotency-Key": "1"}
    body = {"records": [{"fields": {"Code": c, "Count": 1}} for c in "ab"]}
    first = await editor.post(path, params={"upsert": "Code"}, json=body, headers=sent)
    await editor.post(path, params={"upsert": "Code"}, json={"fields": {"Code": "a", "Count": 2}})
    before = len(await world.changes(keyed))
    again = await editor.post(path, params={"upsert": "Code"}, json=body, headers=sent)
    assert (again.json(), again.headers["idempotency-hit"]) == (first.json(), "true")
    assert len(await world.changes(keyed)) == before
    one, key = {"fields": {"Code": "z"}}, {"Idempotency-Key": "2"}
    made, more = [await editor.post(path, params={"upsert": "Code"}, json=one, headers=key) for _ in range(2)]
    assert (more.status_code, more.json(), more.headers["location"]) == (
        201,
        made.json(),
        made.headers["location"],
    )


async def test_an_upsert_meets_nobody_elses_records(
    base: Base, editor: httpx.AsyncClient, world: World, client: Client
) -> None:
    other = await world.tenant()
    await other.add_table("Tasks")
    body = {"fields": {"Name": "theirs", "Mail": "a@b.co"}}
    await client(await other.token()).post(other.path(), json=body)
    assert (await editor.post(base.path(), params=MAIL, json=body)).json()["status"] == "created"
    assert (await editor.post(other.path(), params=MAIL, json=body)).status_code == 404
    reader = client(await base.token("records:read"))
    assert (await reader.post(base.path(), params=MAIL, json=body)).status_code == 403
    assert len(await world.changes(other)) == 1
