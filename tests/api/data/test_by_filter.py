"""Changes and deletes by filter: all that it finds, or nothing where that is more than the caller said."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.data.conftest import Client
from tests.api.data.world import Base, World


async def fill(base: Base, editor: httpx.AsyncClient, count: int = 10) -> list[str]:
    rows = [{"fields": {"Name": f"n{n}", "Count": n, "Status": "open"}} for n in range(count)]
    made = await editor.post(base.path(), json={"records": rows})
    return [r["id"] for r in made.json()["records"]]


async def test_all_that_match_are_changed(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    made = await fill(base, editor)
    await editor.patch(f"{base.path()}/{made[1]}", json={"fields": {"Status": "done"}})
    params = {"filter": "Count.lt.3", "max-affected": "3"}
    answer = await editor.patch(base.path(), params=params, json={"fields": {"Status": "done"}})
    assert answer.status_code == 200
    assert answer.json() == {
        "count": 3,
        "records": [
            {"id": made[0], "version": 2, "status": "updated"},
            {"id": made[1], "version": 2, "status": "unchanged"},
            {"id": made[2], "version": 2, "status": "updated"},
        ],
    }
    found = (await editor.get(base.path())).json()["records"]
    assert [r["fields"]["Status"] for r in found] == ["done"] * 3 + ["open"] * 7
    updates = [c for c in await world.changes(base) if c["operation_id"] == answer.headers["x-request-id"]]
    assert {c["record_id"] for c in updates} == {made[0], made[2]}
    nothing = await editor.patch(base.path(), params=params, json={"fields": {}})
    assert [r["status"] for r in nothing.json()["records"]] == ["unchanged"] * 3
    nobody = await editor.patch(
        base.path(), params=params | {"filter": "Count.gt.99"}, json={"fields": {"Status": "done"}}
    )
    assert nobody.json() == {"count": 0, "records": []}


async def test_all_that_match_are_deleted(base: Base, editor: httpx.AsyncClient) -> None:
    made = await fill(base, editor)
    params = {"filter": "or(Count.lt.2,Name.eq.n7)"}
    answer = await editor.delete(base.path(), params=params, headers={"Prefer": "max-affected=3"})
    assert answer.json() == {
        "count": 3,
        "records": [{"id": made[n], "version": 2, "status": "deleted"} for n in (0, 1, 7)],
    }
    left = (await editor.get(base.path())).json()["records"]
    assert [r["id"] for r in left] == [made[n] for n in (2, 3, 4, 5, 6, 8, 9)]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_where_more_match_nothing_is_done(
    base: Base, editor: httpx.AsyncClient, world: World, method: str
) -> None:
    await fill(base, editor)
    more: dict[str, Any] = {"json": {"fields": {"Done": True}}} if method == "PATCH" else {}
    params = {"filter": "Count.gte.0", "max-affected": "9"}
    answer = await editor.request(method, base.path(), params=params, **more)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_affected")
    assert answer.json()["at_least"] == 10
    assert answer.json()["errors"][0]["pointer"] == "max-affected"
    assert len(await world.changes(base)) == 10
    params["max-affected"] = "10"
    assert (await editor.request(method, base.path(), params=params, **more)).json()["count"] == 10


@pytest.mark.parametrize(
    ("params", "prefer", "pointer"),
    [
        ({"filter": "Count.gt.1"}, "", "max-affected"),
        ({"filter": "Count.gt.1"}, "max-affected=0", "max-affected"),
        ({"filter": "Count.gt.1", "max-affected": "0"}, "max-affected=5", "max-affected"),
        ({"filter": "Count.gt.1", "max-affected": "1001"}, "", "max-affected"),
        ({"filter": "Count.gt.1", "max-affected": "-1"}, "", "max-affected"),
        ({"filter": "Count.gt.1", "max-affected": "x"}, "", "max-affected"),
        ({"filter": "Cuont.gt.1", "max-affected": "5"}, "", "filter"),
        ({"filter": "", "max-affected": "5"}, "", "filter"),
        ({"filter": "Count.gt.1", "max-affected": "5", "mode": "per_row"}, "", "mode"),
        ({"filter": "Count.gt.1", "max-affected": "5", "timezone": "Nowhere"}, "", "timezone"),
        ({"max-affected": "5"}, "", "max-affected"),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_careless_call_is_refused(
    base: Base, editor: httpx.AsyncClient, world: World, method: str, params: dict[str, str], prefer: str, pointer: str
) -> None:  # fmt: skip
    more: dict[str, Any] = {"json": {"fields": {"Done": True}}} if method == "PATCH" else {}
    answer = await editor.request(method, base.path(), params=params, headers={"Prefer": prefer}, **more)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await world.changes(base) == []


async def test_bodies_and_ids_that_do_not_go_with_a_filter_are_refused(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    made = await fill(base, editor, 1)
    params = {"filter": "Count.eq.0", "max-affected": "5"}
    both = await editor.delete(base.path(), params=params | {"id": made[0]})
    assert (both.status_code, both.json()["errors"][0]["pointer"]) == (400, "id")
    for body, pointer in (
        ({"records": [{"id": made[0], "fields": {}}]}, ""),
        ({"fields": {"Cuont": 1}}, "/fields/Cuont"),
        ({"fields": {"Name": None}}, "/fields/Name"),
    ):
        answer = await editor.patch(base.path(), params=params, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    await fill(base, editor, 1)
    unique = await editor.patch(base.path(), params=params, json={"fields": {"Mail": "a@b.co"}})
    assert (unique.status_code, unique.json()["code"]) == (409, "duplicate_value")
    assert (await editor.put(base.path(), params=params, json={"fields": {"Name": "a"}})).status_code == 400
    assert [c["action"] for c in await world.changes(base)] == ["create"] * 2


async def test_a_repeated_call_affects_nobody_else(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    await fill(base, editor)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("PATCH", {"json": {"fields": {"Done": True}}}),
        ("DELETE", {}),
    ]
    for method, more in calls:
        params, key = {"filter": "Count.lt.3", "max-affected": "50"}, {"Idempotency-Key": method}
        first = await editor.request(method, base.path(), params=params, headers=key, **more)
        assert first.json()["count"] >= 3
        await fill(base, editor, 3)
        before = len(await world.changes(base))
        again = await editor.request(method, base.path(), params=params, headers=key, **more)
        assert (again.json(), again.headers["idempotency-hit"]) == (first.json(), "true")
        assert len(await world.changes(base)) == before


async def test_writers_that_cross_are_all_done(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    """Neither batches nor filters wait for each other in a circle, and whoever no longer matches is left alone."""
    made = await fill(base, editor, 20)

    async def by_filter(turn: int) -> None:
        params = {"filter": f"Count.ne.{turn}", "max-affected": "20"}
        answer = await editor.patch(base.path(), params=params, json={"fields": {"Count": turn}})
        assert answer.status_code == 200, answer.text
        assert "unchanged" not in [r["status"] for r in answer.json()["records"]]

    async def by_id(turn: int) -> None:
        sent = [{"id": i, "fields": {"Count": turn}} for i in reversed(made)]
        assert (await editor.patch(base.path(), json={"records": sent})).status_code == 200

    await asyncio.gather(*(by_filter(turn) for turn in range(100, 108)), *(by_id(turn) for turn in range(8)))
    found = (await editor.get(base.path())).json()["records"]
    assert len({r["fields"]["Count"] for r in found}) == 1
    changes = [c for c in await world.changes(base) if c["action"] == "update"]
    assert sorted((c["record_id"], c["version"]) for c in changes) == sorted(
        (r["id"], v) for r in found for v in range(2, r["version"] + 1)
    )


async def test_nobody_elses_records_are_affected(
    base: Base, editor: httpx.AsyncClient, world: World, client: Client
) -> None:
    await fill(base, editor, 2)
    other = await world.tenant()
    await other.add_table("Tasks")
    await fill(other, client(await other.token()), 2)
    params = {"filter": "Count.gte.0", "max-affected": "100"}
    assert (await editor.delete(other.path(), params=params)).status_code == 404
    reader = client(await base.token("records:read"))
    assert (await reader.delete(base.path(), params=params)).status_code == 403
    # Who may not read values does not find out by filters either.
    writer = client(await base.token("records:write"))
    for answer in (
        await writer.delete(base.path(), params=params),
        await writer.patch(base.path(), params=params, json={"fields": {"Done": True}}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert (await editor.delete(base.path(), params=params)).json()["count"] == 2
    assert len(await world.changes(other)) == 2
