"""Fields that nobody writes: they are there in every answer, can be asked for, and are refused in every body."""

import json
from typing import Any

import httpx
import pytest

from tests.api.data.conftest import Client
from tests.api.data.world import Base, Token, World

AUDIT = {"Made": "created_at", "Maker": "created_by", "Changed": "updated_at", "Changer": "updated_by"}
FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "Name", "type": "text", "unique": True},
    *({"name": name, "type": kind} for name, kind in AUDIT.items()),
    {"name": "No", "type": "autonumber"},
)
COMPUTED = [*AUDIT, "No"]


@pytest.fixture
async def base(world: World) -> Base:
    """A new tenant's base with a table of all computed types."""
    made = await world.tenant()
    await made.add_table("Items", FIELDS)
    return made


@pytest.fixture
async def token(base: Base) -> Token:
    """A token of a user."""
    return await base.token(role="editor")


@pytest.fixture
async def http(token: Token, client: Client) -> httpx.AsyncClient:
    """That user."""
    return client(token)


@pytest.fixture
def path(base: Base) -> str:
    """Where the records are."""
    return base.path("Items")


async def _many(http: httpx.AsyncClient, path: str, *names: str) -> list[dict[str, Any]]:
    made = await http.post(path, json={"records": [{"fields": {"Name": name}} for name in names]})
    assert made.status_code == 201, made.text
    found: list[dict[str, Any]] = made.json()["records"]
    return found


async def _names(http: httpx.AsyncClient, path: str, **query: str) -> list[str]:
    found = await http.get(path, params=query)
    assert found.status_code == 200, found.text
    return [record["fields"]["Name"] for record in found.json()["records"]]


async def test_every_answer_has_them(http: httpx.AsyncClient, path: str, token: Token) -> None:
    made = await http.post(path, json={"fields": {"Name": "a"}})
    assert made.status_code == 201, made.text
    one = made.json()
    assert one["fields"] == {
        "Name": "a",
        "Made": one["created_at"],
        "Maker": token.user_id,
        "Changed": one["updated_at"],
        "Changer": token.user_id,
        "No": 1,
    }
    address = f"{path}/{one['id']}"
    assert (await http.get(address)).json() == one
    assert (await http.get(path)).json()["records"] == [one]
    projected = (await http.get(address, params={"fields": "No,Made"})).json()["fields"]
    assert projected == {"Made": one["created_at"], "No": 1}
    listed = (await http.get(path, params={"fields": "Changer", "sort": "-No,Made"})).json()["records"]
    assert [record["fields"] for record in listed] == [{"Changer": token.user_id}]


async def test_a_change_is_another_persons_and_keeps_the_number(
    base: Base, http: httpx.AsyncClient, client: Client, path: str, token: Token
) -> None:
    one, two = await _many(http, path, "a", "b")
    machine = await base.token()
    for method, wanted in (("PATCH", {"Name": "c"}), ("PUT", {"Name": "d"})):
        changed = await client(machine).request(method, f"{path}/{one['id']}", json={"fields": wanted})
        fields = changed.json()["fields"]
        assert {name: fields[name] for name in ("Made", "Maker", "No")} == {
            name: one["fields"][name] for name in ("Made", "Maker", "No")
        }
        assert fields["Changer"] == machine.id
        assert fields["Changed"] == changed.json()["updated_at"] > one["updated_at"]
    for method in ("PATCH", "PUT"):
        body = {
            "records": [{"id": each["id"], "fields": {"Name": each["id"] + method}} for each in (two, one)]
        }
        changed = await http.request(method, path, json=body)
        assert [record["fields"]["No"] for record in changed.json()["records"]] == [2, 1]
        assert {record["fields"]["Changer"] for record in changed.json()["records"]} == {token.user_id}


@pytest.mark.parametrize("name", COMPUTED)
async def test_a_body_that_names_one_is_refused(http: httpx.AsyncClient, path: str, name: str) -> None:
    [one] = await _many(http, path, "a")
    for value in (one["fields"][name], None):
        fields = {"Name": "b", name: value}
        for method, address, body, place in (
            ("POST", path, {"fields": fields}, "/fields"),
            ("POST", path, {"records": [{"fields": {}}, {"fields": fields}]}, "/records/1/fields"),
            ("PATCH", f"{path}/{one['id']}", {"fields": fields}, "/fields"),
            ("PUT", f"{path}/{one['id']}", {"fields": fields}, "/fields"),
            ("PATCH", path, {"records": [{"id": one["id"], "fields": fields}]}, "/records/0/fields"),
            ("PUT", path, {"records": [{"id": one["id"], "fields": fields}]}, "/records/0/fields"),
        ):
            refused = await http.request(method, address, json=body)
            assert refused.status_code == 422, refused.text
            fault = refused.json()["errors"][0]
            assert (fault["pointer"], fault["code"]) == (f"{place}/{name}", "read_only_field")
    assert (await http.get(path)).json()["records"] == [one]


async def test_numbers_follow_the_order_of_a_batch_and_a_failed_one_leaves_a_gap(
    http: httpx.AsyncClient, path: str
) -> None:
    made = await _many(http, path, "c", "a", "b")
    assert [record["fields"]["No"] for record in made] == [1, 2, 3]
    twice = await http.post(path, json={"records": [{"fields": {"Name": name}} for name in ("d", "a")]})
    assert twice.status_code == 409
    await http.delete(f"{path}/{made[2]['id']}")
    [following] = await _many(http, path, "e")
    assert following["fields"]["No"] > 3


async def test_they_can_be_asked_for(http: httpx.AsyncClient, path: str, token: Token) -> None:
    made = [*await _many(http, path, *"abc"), *await _many(http, path, *"de")]
    assert await _names(http, path, sort="-No") == [*"edcba"]
    assert await _names(http, path, filter="and(No.gt.1,No.lte.4)", sort="No") == [*"bcd"]
    assert await _names(http, path, filter=f"Maker.eq.{token.user_id}") == [*"abcde"]
    assert await _names(http, path, filter=f"Changer.ne.{token.user_id}") == []
    assert await _names(http, path, filter=f'Made.gt."{made[0]["created_at"]}"') == [*"de"]
    assert await _names(http, path, filter="Maker.is.null") == []
    wrong = await http.get(path, params={"filter": "No.eq.first"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "filter")


@pytest.mark.parametrize("sort", ["Made", "-Made", "Changed,-No", "-Maker,No", "Changer", "-No", "No"])
async def test_a_walk_in_their_order_meets_each_record_once(
    http: httpx.AsyncClient, path: str, sort: str
) -> None:
    made = [*await _many(http, path, *"abc"), *await _many(http, path, *"def")]
    await http.patch(f"{path}/{made[1]['id']}", json={"fields": {"Name": "changed"}})
    whole = await _names(http, path, sort=sort)
    assert len(whole) == len(made)
    walked: list[str] = []
    query = {"sort": sort, "limit": "1"}
    for _ in made:
        page = (await http.get(path, params=query)).json()
        walked += [record["fields"]["Name"] for record in page["records"]]
        query["cursor"] = page["next_cursor"]
    assert query["cursor"] is None
    assert walked == whole


async def test_a_repeated_call_answers_the_same(http: httpx.AsyncClient, path: str) -> None:
    calls: list[tuple[str, str, Any]] = [
        ("POST", path, {"fields": {"Name": "a"}}),
        ("POST", path, {"records": [{"fields": {"Name": name}} for name in "bc"]}),
    ]
    first = [
        await http.request(method, address, json=body, headers={"Idempotency-Key": f"make {n}"})
        for n, (method, address, body) in enumerate(calls)
    ]
    one = first[0].json()["id"]
    calls += [
        ("PATCH", f"{path}/{one}", {"fields": {"Name": "d"}}),
        ("PUT", path, {"records": [{"id": one, "fields": {"Name": "e"}}]}),
    ]
    first += [
        await http.request(method, address, json=body, headers={"Idempotency-Key": f"make {n}"})
        for n, (method, address, body) in enumerate(calls)
        if n > 1
    ]
    await http.patch(f"{path}/{one}", json={"fields": {"Name": "later"}})
    for n, ((method, address, body), before) in enumerate(zip(calls, first, strict=True)):
        again = await http.request(method, address, json=body, headers={"Idempotency-Key": f"make {n}"})
        assert again.headers["Idempotency-Hit"] == "true"
        assert (again.status_code, again.json()) == (before.status_code, before.json())


async def test_the_change_log_holds_the_number(
    world: World, base: Base, http: httpx.AsyncClient, path: str
) -> None:
    [one] = await _many(http, path, "a")
    await http.patch(f"{path}/{one['id']}", json={"fields": {"Name": "b"}})
    await http.delete(f"{path}/{one['id']}")
    key = f"f_{base.tables['Items'].fields[-1].id}"
    rows = await world.changes(base)
    held = [json.loads(row[side])[key] for row in rows for side in ("before", "after") if row[side]]
    assert held == [1, 1, 1, 1]


async def test_a_table_of_nothing_else_takes_empty_records(
    base: Base, http: httpx.AsyncClient, path: str
) -> None:
    await base.add_table("Bare", FIELDS[1:])
    made = await http.post(base.path("Bare"), json={"records": [{"fields": {}}, {"fields": {}}]})
    assert [record["fields"]["No"] for record in made.json()["records"]] == [1, 2]
    for method in ("PATCH", "PUT"):
        address = f"{base.path('Bare')}/{made.json()['records'][0]['id']}"
        same = await http.request(method, address, json={"fields": {}})
        assert (same.status_code, same.json()) == (200, made.json()["records"][0])


async def test_a_restored_record_keeps_its_number_and_its_maker(
    base: Base, http: httpx.AsyncClient, client: Client, path: str
) -> None:
    one, _ = await _many(http, path, "a", "b")
    await http.delete(f"{path}/{one['id']}")
    restored = await client(await base.token()).post(f"{path}/{one['id']}/restore")
    assert restored.status_code == 200, restored.text
    for name in ("No", "Made", "Maker"):
        assert restored.json()["fields"][name] == one["fields"][name]
    [following] = await _many(http, path, "c")
    assert following["fields"]["No"] == 3


async def test_history_and_the_past_have_them(http: httpx.AsyncClient, path: str) -> None:
    [one] = await _many(http, path, "a")
    later = (await http.patch(f"{path}/{one['id']}", json={"fields": {"Name": "b"}})).json()
    entries = (await http.get(f"{path}/{one['id']}/history")).json()["changes"]
    assert [entry["after"] for entry in entries] == [later["fields"], one["fields"]]
    then = await http.get(f"{path}/{one['id']}", params={"as_of": one["updated_at"]})
    assert then.json()["fields"] == one["fields"]
