"""`mode=per_row`: what one record is refused for keeps no other from being written, and each is told its outcome."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids, rows
from core.errors import Fault, Invalid
from tests.api.data.conftest import Client
from tests.api.data.world import Base, World

EACH = {"mode": "per_row"}


def codes(answer: httpx.Response) -> list[str]:
    return [r["error"]["code"] if "error" in r else r["status"] for r in answer.json()["records"]]


async def test_each_record_is_created_or_told_why_not(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    await editor.post(base.path(), json={"fields": {"Name": "there", "Mail": "taken@b.co"}})
    sent: list[Any] = [
        {"fields": {"Name": "a", "Mail": "a@b.co"}},
        {"fields": {"Name": "b", "Mail": "taken@b.co"}},
        {"fields": {"Name": "c", "Count": "many"}},
        {"fields": {"Name": "d", "Nmae": "x"}},
        {"fields": {"Name": "e", "Mail": "a@b.co"}},
        {"fields": {"Count": 1}},
        7,
        {"fields": {"Name": "f", "Amount": 12345678901234.123456}},
    ]
    answer = await editor.post(base.path(), params=EACH, json={"records": sent})
    assert answer.status_code == 207
    assert codes(answer) == [
        "created", "duplicate_value", "invalid", "invalid", "duplicate_value", "invalid", "invalid", "created",
    ]  # fmt: skip
    told = answer.json()["records"]
    assert [r["error"]["errors"][0]["pointer"] for r in told if "error" in r] == [
        "/records/1/fields/Mail",
        "/records/2/fields/Count",
        "/records/3/fields/Nmae",
        "/records/4/fields/Mail",
        "/records/5/fields/Name",
        "/records/6",
    ]
    assert told[1]["error"]["status"] == 409
    assert told[2]["error"]["status"] == 422
    for row, name in ((told[0], "a"), (told[7], "f")):
        found = (await editor.get(f"{base.path()}/{row['id']}")).json()
        assert (found["fields"]["Name"], found["version"]) == (name, row["version"])
    assert [c["action"] for c in await world.changes(base)] == ["create"] * 3
    fine = await editor.post(base.path(), params=EACH, json={"records": [{"fields": {"Name": "g"}}]})
    assert (fine.status_code, codes(fine)) == (200, ["created"])


async def test_each_record_is_changed_unchanged_or_told_why_not(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    rows = [{"fields": {"Name": f"n{n}", "Count": n, "Mail": f"m{n}@b.co"}} for n in range(5)]
    made = [r["id"] for r in (await editor.post(base.path(), json={"records": rows})).json()["records"]]
    sent = [
        {"id": made[0], "fields": {"Count": 10}},
        {"id": made[1], "fields": {"Count": 1}},
        {"id": ids.new(), "fields": {"Count": 3}},
        {"id": made[2], "fields": {"Count": 20}, "version": 9},
        {"id": made[3], "fields": {"Mail": "m4@b.co"}},
        {"id": "nobody", "fields": {"Count": 3}},
    ]
    answer = await editor.patch(base.path(), params=EACH, json={"records": sent})
    assert answer.status_code == 207
    assert codes(answer) == [
        "updated", "unchanged", "not_found", "precondition_failed", "duplicate_value", "invalid",
    ]  # fmt: skip
    told = answer.json()["records"]
    assert told[0] == {"status": "updated", "id": made[0], "version": 2}
    assert told[1] == {"status": "unchanged", "id": made[1], "version": 1}
    assert told[2]["error"]["errors"][0]["pointer"] == "/records/2/id"
    assert "version 1" in told[3]["error"]["detail"]
    assert [c["action"] for c in await world.changes(base)].count("update") == 1
    put = [{"id": made[0], "fields": {"Name": "x"}}, {"id": made[1], "fields": {}}]
    answer = await editor.put(base.path(), params=EACH, json={"records": put})
    assert codes(answer) == ["updated", "invalid"]
    assert (await editor.get(f"{base.path()}/{made[0]}")).json()["fields"]["Count"] is None


async def test_each_record_is_deleted_or_told_why_not(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    rows = [{"fields": {"Name": f"n{n}"}} for n in range(3)]
    made = [r["id"] for r in (await editor.post(base.path(), json={"records": rows})).json()["records"]]
    params = [("mode", "per_row"), *(("id", i) for i in (made[2], ids.new(), "nobody", made[0]))]
    answer = await editor.delete(base.path(), params=params)
    assert answer.status_code == 207
    assert codes(answer) == ["deleted", "not_found", "not_found", "deleted"]
    told = answer.json()["records"]
    assert told[0] == {"status": "deleted", "id": made[2], "version": 2}
    assert [r["error"]["errors"][0]["pointer"] for r in told[1:3]] == ["id[1]", "id[2]"]
    left = (await editor.get(base.path())).json()["records"]
    assert [r["id"] for r in left] == [made[1]]
    gone = await editor.delete(base.path(), params=[("mode", "per_row"), ("id", "x"), ("id", "y")])
    assert (gone.status_code, codes(gone)) == (207, ["not_found"] * 2)


async def test_many_taken_values_cost_few_attempts(base: Base, editor: httpx.AsyncClient) -> None:
    """Hundreds of refusals in one call are found, though halving alone would soon be at its bound."""
    there = [{"fields": {"Name": "x", "Mail": f"m{n}@b.co"}} for n in range(0, 1000, 3)]
    await editor.post(base.path(), json={"records": there})
    rows = [{"fields": {"Name": "y", "Mail": f"m{n}@b.co"}} for n in range(1000)]
    answer = await editor.post(base.path(), params=EACH, json={"records": rows})
    assert codes(answer) == ["created" if n % 3 else "duplicate_value" for n in range(1000)]


async def test_when_the_attempts_are_used_up_the_rest_is_told_so_and_can_be_sent_again(
    base: Base, editor: httpx.AsyncClient
) -> None:
    """Values that records of one call hand on to each other can only be found to blame by halving."""
    rows = [{"fields": {"Name": "x", "Mail": f"m{n}@b.co"}} for n in range(200)]
    made = [r["id"] for r in (await editor.post(base.path(), json={"records": rows})).json()["records"]]
    swapped = [{"id": made[n], "fields": {"Mail": f"m{n ^ 1}@b.co", "Count": n}} for n in range(200)]
    answer = await editor.patch(base.path(), params=EACH, json={"records": swapped})
    assert answer.status_code == 207
    found = codes(answer)
    assert set(found) == {"duplicate_value", "not_tried"}
    first = found.index("not_tried")
    assert found[:first] == ["duplicate_value"] * first
    assert first > 10
    assert answer.json()["records"][first]["error"]["status"] == 503
    stored = (await editor.get(base.path(), params={"limit": 1000})).json()["records"]
    assert [r["version"] for r in stored] == [1] * 200


@pytest.mark.parametrize("swapped", ["patch", "put"])
async def test_records_of_one_call_cannot_exchange_unique_values(
    base: Base, editor: httpx.AsyncClient, world: World, swapped: str
) -> None:
    """Documented: such an index is looked at row by row, or it could not tell an upsert what is there."""
    rows = [{"fields": {"Name": "x", "Mail": f"m{n}@b.co"}} for n in range(2)]
    made = [r["id"] for r in (await editor.post(base.path(), json={"records": rows})).json()["records"]]
    sent = [{"id": made[n], "fields": {"Name": "y", "Mail": f"m{1 - n}@b.co"}} for n in range(2)]
    answer = await editor.request(swapped.upper(), base.path(), json={"records": sent})
    assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_value")
    assert len(await world.changes(base)) == 2


async def test_a_repeated_call_answers_the_same_outcomes(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    sent: list[Any] = [
        {"fields": {"Name": "a", "Mail": "a@b.co"}},
        {"fields": {"Name": "b", "Mail": "a@b.co"}},
        {"fields": {"Name": 1}},
    ]
    made = await editor.post(
        base.path(), params=EACH, json={"records": sent}, headers={"Idempotency-Key": "1"}
    )
    record_id = made.json()["records"][0]["id"]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("POST", {"params": EACH, "json": {"records": sent}}),
        ("PATCH", {"params": EACH, "json": {"records": [{"id": record_id, "fields": {"Count": 1}}]}}),
        ("DELETE", {"params": [("mode", "per_row"), ("id", record_id), ("id", ids.new())]}),
        ("POST", {"params": EACH, "json": {"records": [sent[2]]}}),
    ]
    for n, (method, more) in enumerate(calls, 1):
        key = {"Idempotency-Key": str(n)}
        first = await editor.request(method, base.path(), headers=key, **more)
        before = len(await world.changes(base))
        again = await editor.request(method, base.path(), headers=key, **more)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert again.headers["idempotency-hit"] == "true"
        assert len(await world.changes(base)) == before
    assert (
        made.json()
        == (await editor.post(base.path(), headers={"Idempotency-Key": "1"}, **calls[0][1])).json()
    )


async def test_what_is_wrong_with_the_whole_call_refuses_the_whole_call(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    same = ids.new()
    twice = [{"id": same, "fields": {}}, {"id": "x", "fields": {}}, {"id": same, "fields": {}}]
    for method, body, status, pointers in (
        ("POST", '{"fields":{"Name":"a"}}', 422, [""]),
        ("POST", '{"records":[]}', 422, ["/records"]),
        ("POST", '{"records":[', 400, [""]),
        ("POST", '{"records":[{"fields":{}}],"more":1}', 422, ["/records/0/fields/Name", "/more"]),
        ("POST", '{"records":[{"fields":{"Name":1}}],"records":[{"fields":{"Name":1}}]}', 422, None),
        ("PATCH", json.dumps({"records": twice}), 422, ["/records/0/id", "/records/2/id"]),
    ):
        answer = await editor.request(method, base.path(), params=EACH, content=body)
        assert answer.status_code == status, answer.text
        if pointers is not None:
            assert [e["pointer"] for e in answer.json()["errors"]] == pointers
    wrong = await editor.post(base.path(), params={"mode": "per_rwo"}, json={"records": []})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "mode")
    assert "'per_row'" in wrong.json()["detail"]
    assert await world.changes(base) == []


async def test_a_reader_and_a_stranger_write_nothing(
    base: Base, world: World, client: Client, editor: httpx.AsyncClient
) -> None:
    body = {"records": [{"fields": {"Name": "a"}}]}
    reader = client(await base.token("records:read"))
    assert (await reader.post(base.path(), params=EACH, json=body)).json()["code"] == "read_only"
    viewer = client(await base.token(role="viewer"))
    assert (await viewer.post(base.path(), params=EACH, json=body)).status_code == 403
    other = await world.tenant()
    await other.add_table("Tasks")
    theirs = (await client(await other.token()).post(other.path(), json={"fields": {"Name": "t"}})).json()
    answer = await editor.patch(
        base.path(), params=EACH, json={"records": [{"id": theirs["id"], "fields": {"Name": "z"}}]}
    )
    assert codes(answer) == ["not_found"]
    assert len(await world.changes(other)) == 1
    assert await world.changes(base) == []


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(_VALUES, min_size=1, max_size=8), st.sampled_from([None, 1]))
def test_a_body_falls_into_the_texts_of_its_records(values: list[Any], indent: int | None) -> None:
    parts = rows.split(json.dumps({"records": values}, indent=indent).encode())
    assert parts is not None
    assert [json.loads(part) for part in parts] == values
    assert json.loads(rows.joined(parts)) == {"records": values}


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_whoever_passes_alone_goes_on_and_the_others_are_told_by_their_place(good: list[bool]) -> None:
    def check(raw: bytes) -> list[bool]:
        found: list[bool] = json.loads(raw)["records"]
        faults = tuple(Fault(f"/records/{n}/x", "no", "no") for n, is_good in enumerate(found) if not is_good)
        if faults:
            raise Invalid("no", faults)
        return found

    sifted = rows.sift(json.dumps({"records": good}).encode(), check, len)
    assert list(sifted.places) == [n for n, is_good in enumerate(good) if is_good]
    assert len(sifted.passed or ()) == len(sifted.places)
    assert {n: [f.pointer for f in why.faults] for n, why in sifted.refused.items()} == {
        n: [f"/records/{n}/x"] for n, is_good in enumerate(good) if not is_good
    }
