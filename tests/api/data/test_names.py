"""Fields may have the names that our own statements use inside."""

from typing import Any

import httpx
import pytest

from tests.api.data.conftest import Client
from tests.api.data.world import Base, World

NAMES = (
    "n",
    "r",
    "i",
    "o",
    "f",
    "e",
    "d",
    "c",
    "t",
    "j",
    "v",
    "k",
    "q",
    "rec",
    "ord",
    "key",
    "place",
    "value",
)
NAMES += (
    "fields",
    "after",
    "before",
    "locked",
    "made",
    "changed",
    "shown",
    "rows",
    "body",
    "hint",
    "limit",
    "c0",
)


@pytest.fixture
async def base(world: World) -> Base:
    made = await world.tenant()
    fields: list[dict[str, Any]] = [{"name": name, "type": "integer"} for name in NAMES]
    await made.add_table("Tasks", [*fields, {"name": "Mail", "type": "email", "unique": True}])
    return made


def fields(n: int) -> dict[str, Any]:
    return {name: n + place for place, name in enumerate(NAMES)} | {"Mail": f"{n}@b.co"}


async def test_every_way_to_write_and_read_takes_them(base: Base, client: Client) -> None:
    http = client(await base.token())
    path = base.path()

    async def done(method: str, where: str, **more: Any) -> Any:
        answer: httpx.Response = await http.request(method, where, **more)
        assert answer.status_code in (200, 201, 207), (method, where, more, answer.text)
        return answer.json()

    one = await done("POST", path, json={"fields": fields(1)})
    assert one["fields"] == fields(1)
    two, three = (await done("POST", path, json={"records": [{"fields": fields(n)} for n in (2, 3)]}))[
        "records"
    ]
    assert [two["fields"], three["fields"]] == [fields(2), fields(3)]
    each = {"mode": "per_row"}
    rows = await done("POST", path, json={"records": [{"fields": fields(n)} for n in (4, 5)]}, params=each)
    assert [row["status"] for row in rows["records"]] == ["created", "created"]
    ids = [one["id"], two["id"], three["id"], *(row["id"] for row in rows["records"])]
    for method in ("PATCH", "PUT"):
        for n, more in ((10, {}), (20, each)):
            many = [{"id": record_id, "fields": fields(n + m)} for m, record_id in enumerate(ids)]
            await done(method, path, json={"records": many}, params=more)
            # What is there already changes nothing, and is looked up in another way.
            await done(method, path, json={"records": many}, params=more)
        assert (await done(method, f"{path}/{ids[0]}", json={"fields": fields(30)}))["fields"] == fields(30)
    merge = {"upsert": "Mail"}
    await done("POST", path, json={"records": [{"fields": fields(n)} for n in (30, 31)]}, params=merge)
    narrow = {"filter": "n.eq.30", "max-affected": "5"}
    await done("PATCH", path, json={"fields": {"n": 7, "r": 8}}, params=narrow)
    for name in NAMES:
        found = await done("GET", path, params={"sort": f"-{name}", "fields": name, "filter": f"{name}.gt.0"})
        values = [record["fields"][name] for record in found["records"]]
        assert values == sorted(values, reverse=True)
        assert len(values) == 6
    assert (await done("GET", f"{path}/{ids[0]}"))["fields"] == fields(30) | {"n": 7, "r": 8}
    assert (await done("GET", f"{path}/{ids[0]}/history"))["changes"][0]["after"]["n"] == 7
    await done("DELETE", path, params=[("id", record_id) for record_id in ids[:2]])
    assert (await done("POST", f"{path}/{ids[0]}/restore"))["fields"]["n"] == 7
    lines = (await http.get(path, headers={"Accept": "application/x-ndjson"})).text.splitlines()
    assert lines[-1].startswith('{"end":true,"count":5')
