"""What the Data API's OpenAPI describes, and each base's own, is what it answers, to calls that are made from it."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from api.data.app import DataApi
from tests.api.conforming import KEYS, Case, Choose, Service, conform
from tests.api.data.conftest import Client
from tests.api.data.test_views import add_view
from tests.api.data.world import Base, World

There = tuple[Base, dict[str, Sequence[str]]]

ROW = {"Name": "one", "Note": "a note", "Count": 1, "Amount": 2.5, "Done": True, "Due": "2026-11-24"}
ROWS: tuple[dict[str, Any], ...] = (
    {"Name": "new"},
    ROW | {"At": "2026-11-24T12:00:00Z", "Status": "open", "Tags": ["a"], "Data": {"a": [1, None]}},
    {"Name": "", "Mail": "one@example.com", "Site": "https://example.com"},
    {"Name": None},
    {"Count": "5", "Nothing": 1},
)
QUERIES: dict[str, tuple[str, ...]] = {
    "sort": ("-Amount,Name", "created_at", "Nothing"),
    "filter": ("Status.eq.open", "and(Count.gt.0,Due.lt.today)", "not(Name.contains.o)", "Name.eq"),
    "fields": ("Name", '"Name",Note', "Nothing"),
    "timezone": ("Europe/Berlin", "Mars"),
    "upsert": ("Mail", "Name"),
    "view": ("All", "Nothing"),
    "after": ("latest", "x.y"),
    "as_of": ("2026-11-24T12:00:00Z", "2026-01-01"),
}
HEADERS = {
    "Prefer": ("tx=rollback", "max-affected=2", "handling=strict, tx=commit", "handling=strict, x"),
    "If-Match": ('"v1"', "*", '"v999"', "v1"),
    "If-None-Match": ('"v1"', "*", 'W/"v1"', "v1"),
}


async def filled(world: World, client: Client) -> There:
    """A base with records, some of them in the trash; and what there is by the names of OpenAPI."""
    base = await world.tenant()
    table = await base.add_table("Tasks")
    await add_view(base, "All", {"sort": "Name"})
    async with client(await base.token()) as http:
        made = await http.post(
            base.path(), json={"records": [{"fields": ROW | {"Name": n}} for n in "abcdef"]}
        )
        record_ids = [record["id"] for record in made.json()["records"]]
        await http.patch(f"{base.path()}/{record_ids[0]}", json={"fields": {"Name": "changed"}})
        await http.delete(base.path(), params={"id": record_ids[4:]})
        page = (await http.get(base.path(), params={"limit": 1})).json()
        feed = (await http.get(f"/bases/{base.id}/changes", params={"limit": 1})).json()
    known: dict[str, Sequence[str]] = {
        "base_id": [base.id],
        "table_id": [str(table.id)],
        "record_id": record_ids,
        "id": record_ids,
        "tables": [str(table.id)],
        "cursor": [page["next_cursor"]],
        "after": [feed["next_cursor"]],
        "Idempotency-Key": KEYS,
    }
    return base, known


def mend_query(case: Case, choose: Choose) -> None:
    """Let names and filters be those of the table, mostly, and no call wait for changes."""
    for place, words in ((case.query, QUERIES), (case.headers, HEADERS)):
        for name in list(place or {}):
            if name in words and choose((True, True, True, False)):
                place[name] = choose(words[name])
    if case.method == "GET" and choose((True, False, False, False)):
        case.headers["Accept"] = "application/x-ndjson"
    if str((case.query or {}).get("wait", 0)) not in ("0", "-1"):
        case.query["wait"] = 0


def mend(case: Case, choose: Choose) -> None:
    """Let values be those of the table, too."""
    mend_query(case, choose)
    if isinstance(case.body, dict) and choose((True, True, True, False)):
        for item in [case.body, *_items(case.body)]:
            if "fields" in item and isinstance(item["fields"], dict):
                item["fields"] = choose(ROWS)


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    records = body.get("records")
    return [item for item in records if isinstance(item, dict)] if isinstance(records, list) else []


@pytest.fixture
async def there(world: World, client: Client) -> There:
    """A base, and what is in it by the names of OpenAPI."""
    return await filled(world, client)


@pytest.fixture
async def anybody(app: DataApi) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://data") as made:
        yield made


async def test_answers_are_as_described(app: DataApi, there: There, anybody: httpx.AsyncClient) -> None:
    base, known = there
    token = (await base.token()).headers["Authorization"]
    document = json.loads(json.dumps(app.openapi()))
    service = Service("data", document, anybody, token, known, mend)
    await conform(service, 16)
    assert {200, 201, 207, 400, 401, 404, 409, 410, 422} <= set(service.answers)


async def test_answers_are_as_a_base_describes_them(there: There, anybody: httpx.AsyncClient) -> None:
    base, known = there
    token = (await base.token()).headers["Authorization"]
    document = (await anybody.get(f"/bases/{base.id}/openapi.json", headers={"Authorization": token})).json()
    service = Service("base", document, anybody, token, known, mend_query)
    await conform(service, 6)
    assert {200, 201, 400, 401, 404, 422} <= set(service.answers)


async def test_an_answer_that_is_not_described_is_found(
    app: DataApi, there: There, anybody: httpx.AsyncClient
) -> None:
    base, known = there
    token = (await base.token()).headers["Authorization"]
    many, one = (
        "/bases/{base_id}/tables/{table_id}/records",
        "/bases/{base_id}/tables/{table_id}/records/{record_id}",
    )
    document = json.loads(json.dumps(app.openapi()))
    document["paths"] = {path: {"get": document["paths"][path]["get"]} for path in (many, one)}
    del document["paths"][one]["get"]["responses"]["404"]
    document["components"]["schemas"]["Record"]["properties"]["version"]["maximum"] = 0
    document["components"]["schemas"]["RecordLine"] = {"required": ["line"]}
    service = Service("wrong", document, anybody, token, known, mend)
    with pytest.raises(AssertionError) as found:
        await conform(service, 24)
    words = str(found.value)
    assert "Undocumented" in words
    assert "is greater than the maximum" in words
    assert '"line" is a required property' in words
