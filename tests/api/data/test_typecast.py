"""`typecast`: what is coerced on the way in is written, and told of, also when the call is repeated."""

from typing import Any

import httpx
import pytest

from tests.api.data.world import Base, World

LENIENT = {"typecast": "lenient"}


async def test_what_is_coerced_is_written_and_told(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    path = base.path()
    made = await editor.post(path, params=LENIENT, json={"fields": {"Name": "a", "Count": "1,000"}})
    assert made.status_code == 201, made.text
    (told,) = made.json()["coercions"]
    assert (told["record"], told["field"], told["from"], told["to"]) == (0, "Count", "1,000", 1000)
    assert told["rule"]
    where = made.headers["location"]
    record_id = made.json()["id"]
    assert (await editor.get(where)).json() == {k: v for k, v in made.json().items() if k != "coercions"}
    by_mail = {"upsert": "Mail"}
    calls: list[tuple[str, str, dict[str, Any], dict[str, str], int]] = [
        ("POST", path, {"records": [{"fields": {"Name": "b"}}, {"fields": {"Name": "c", "Count": "7"}}]}, {}, 1),
        ("PATCH", where, {"fields": {"Count": "8"}}, {}, 0),
        ("PUT", where, {"fields": {"Name": "a", "Count": "9"}}, {}, 0),
        ("PATCH", path, {"records": [{"id": record_id, "fields": {"Count": "10"}}]}, {}, 0),
        ("POST", path, {"records": [{"fields": {"Name": 1, "Count": []}}, {"fields": {"Name": "d", "Count": "11"}}]},
         {"mode": "per_row"}, 1),
        ("POST", path, {"records": [{"fields": {"Name": "e", "Mail": "a@b.co", "Count": "12"}}]}, by_mail, 0),
        ("PATCH", path, {"fields": {"Count": "13"}}, {"filter": "Name.eq.a", "max-affected": "1"}, 0),
        ("POST", path, {"fields": {"Name": "f", "Mail": "f@b.co", "Count": "14"}}, by_mail, 0),
    ]  # fmt: skip
    for n, (method, url, body, more, place) in enumerate(calls):
        key, params = {"Idempotency-Key": str(n)}, LENIENT | more
        first = await editor.request(method, url, params=params, json=body, headers=key)
        assert first.status_code < 300, first.text
        assert first.json()["coercions"], (n, first.text)
        counts = [c for c in first.json()["coercions"] if c["field"] == "Count"]
        assert [(c["record"], c["from"], c["to"]) for c in counts] == [
            (place, str(counts[0]["to"]), counts[0]["to"])
        ]
        before = len(await world.changes(base))
        again = await editor.request(method, url, params=params, json=body, headers=key)
        assert (again.json(), again.headers["idempotency-hit"]) == (first.json(), "true")
        assert len(await world.changes(base)) == before


async def test_without_it_nothing_is_coerced_and_nothing_told(base: Base, editor: httpx.AsyncClient) -> None:
    for params in ({}, {"typecast": "off"}):
        wrong = await editor.post(base.path(), params=params, json={"fields": {"Name": "a", "Count": "1"}})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/fields/Count")
        fine = await editor.post(base.path(), params=params, json={"fields": {"Name": "a"}})
        assert "coercions" not in fine.json()
    asked = await editor.post(base.path(), params=LENIENT, json={"fields": {"Name": "a"}})
    assert asked.json()["coercions"] == []
    strict = await editor.post(
        base.path(), params={"typecast": "strict"}, json={"fields": {"Name": "a", "Count": "1,000"}}
    )
    assert strict.status_code == 422


@pytest.mark.parametrize("word", ["", "on", "Strict", "lenientt"])
async def test_an_unknown_typecast_is_refused(base: Base, editor: httpx.AsyncClient, word: str) -> None:
    answer = await editor.post(base.path(), params={"typecast": word}, json={"fields": {"Name": "a"}})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "typecast")
    assert (await editor.delete(base.path(), params={"typecast": "strict", "id": "x"})).status_code == 400
