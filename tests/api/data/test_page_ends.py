"""Where a page of a common size ends: found without counting, and right to the record in every order."""

import random
from typing import Any

import httpx
import pytest

from tests.api.data.conftest import Client
from tests.api.data.plain import quoted
from tests.api.data.test_lists import _sorted
from tests.api.data.world import Base, World

# What the names of rows, of columns and of parts of a statement could be taken for; and what is longer than those.
AWKWARD = [
    "o", "f", "o_", "f_", "r", "i", "p", "e", "n", "lu", "lt", "k0", "body", "fields", "records", "select", "json",
    'a "quoted" name', "it's", '"', "'", "f__", "a\\nb", "ж" * 32, "日" * 30 + "o", "x" * 63, "x" * 64,
]  # fmt: skip
SORTS: list[tuple[str, ...]] = [
    (), ("id",), ("-id",), ("created_at",), ("-created_at",), ("created_at", "id"), ("created_at", "-id"),
    ("-created_at", "id"), ("Due",), ("-Due",), ("Due", "-id"), ("-Due", "id"), ("o",), ("-f",),
]  # fmt: skip


class Crowd:
    """A table that grows, in few transactions, so that many records have the same time; a third has no date."""

    def __init__(self, base: Base, http: httpx.AsyncClient) -> None:
        self.base, self.http = base, http
        self.records: list[dict[str, Any]] = []
        self._rng = random.Random(3)

    async def grow(self, count: int) -> None:
        """Make records until there are so many."""
        missing = count - len(self.records)
        if missing < 1:
            return
        rows = [
            {
                "fields": {
                    "Due": self._rng.choice([None, "2024-01-01", "2024-01-02"]),
                    "o": f"{n % 7}",
                    "f": f"{n % 3}",
                }
            }
            for n in range(missing)
        ]
        answer = await self.http.post(self.base.path(), json={"records": rows})
        assert answer.status_code == 201, answer.text
        self.records += answer.json()["records"]

    async def pages(self, **params: Any) -> list[list[dict[str, Any]]]:
        """All pages, from cursor to cursor."""
        found: list[list[dict[str, Any]]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.http.get(
                self.base.path(), params=params | ({"cursor": cursor} if cursor else {})
            )
            assert page.status_code == 200, page.text
            found.append(page.json()["records"])
            cursor = page.json()["next_cursor"]
        return found


@pytest.fixture(scope="module")
async def crowd(world: World, client: Client) -> Crowd:
    """A table with a date and text fields."""
    base = await world.tenant()
    fields = [{"name": "Due", "type": "date"}, {"name": "o", "type": "text"}, {"name": "f", "type": "text"}]
    await base.add_table("Tasks", fields)
    return Crowd(base, client(await base.token()))


@pytest.mark.parametrize(
    ("count", "limit"),
    [(0, 100), (1, 100), (99, 100), (100, 100), (101, 100), (200, 100), (201, 100), (999, 1000), (1000, 1000),
     (1001, 1000), (2000, 1000)],
)  # fmt: skip
async def test_a_page_is_full_and_the_last_one_says_so(crowd: Crowd, count: int, limit: int) -> None:
    """In every order: no record is met twice or missed, and no page is empty but the only one."""
    await crowd.grow(count)
    assert len(crowd.records) == count
    for sort in SORTS:
        params = {"limit": limit} | ({"sort": ",".join(sort)} if sort else {})
        found = await crowd.pages(**params)
        sizes = [min(limit, count - at) for at in range(0, count, limit)] or [0]
        assert [len(page) for page in found] == sizes, sort
        expected = _sorted(crowd.records, sort or ("id",))
        assert [record for page in found for record in page] == expected, sort


async def test_a_place_without_a_value_is_a_place(crowd: Crowd) -> None:
    """Pages that end before, in and after the records that have no date."""
    await crowd.grow(2000)
    for sort in (("Due",), ("-Due",), ("Due", "-id")):
        expected = _sorted(crowd.records, sort)
        found = await crowd.pages(sort=",".join(sort), limit=100)
        ends = {page[-1]["fields"]["Due"] for page in found}
        assert ends == {None, "2024-01-01", "2024-01-02"}
        assert [record for page in found for record in page] == expected


@pytest.fixture(scope="module")
async def awkward(world: World, client: Client) -> tuple[Base, httpx.AsyncClient, list[dict[str, Any]]]:
    """A table with names that could be taken for something else."""
    base = await world.tenant()
    await base.add_table("Tasks", [{"name": name, "type": "text"} for name in AWKWARD])
    http = client(await base.token())
    rows = [{"fields": {name: f"{name} {n}" for name in AWKWARD}} for n in range(101)]
    made = await http.post(base.path(), json={"records": rows})
    assert made.status_code == 201, made.text
    assert [record["fields"] for record in made.json()["records"]] == [row["fields"] for row in rows]
    return base, http, made.json()["records"]


@pytest.mark.parametrize("limit", [7, 100, 1000])
async def test_names_are_taken_for_nothing_else(awkward: Any, limit: int) -> None:
    """Whole records and single fields, of one kind of name or of both, in pages, by themselves and in their order."""
    base, http, records = awkward
    some = [
        AWKWARD[:5],
        AWKWARD[-5:],
        [AWKWARD[0], AWKWARD[-1]],
        *([name] for name in AWKWARD),
        AWKWARD[::-1],
    ]
    for names in [None, *some]:
        params = {} if names is None else {"fields": ",".join(map(quoted, names))}
        shown = [
            r if names is None else r | {"fields": {n: r["fields"][n] for n in AWKWARD if n in names}}
            for r in records
        ]
        page = await http.get(base.path(), params=params | {"limit": limit})
        assert page.json()["records"] == shown[:limit]
        assert [list(r["fields"]) for r in page.json()["records"]] == [
            list(r["fields"]) for r in shown[:limit]
        ]
        sort = quoted((names or AWKWARD)[0])
        in_order = await http.get(base.path(), params=params | {"limit": limit, "sort": f"-{sort}"})
        key = (names or AWKWARD)[0]
        assert (
            in_order.json()["records"] == sorted(shown, key=lambda r: r["fields"][key], reverse=True)[:limit]
        )
        one = await http.get(f"{base.path()}/{records[0]['id']}", params=params)
        assert one.json() == shown[0]


async def test_awkward_names_are_written_alone_and_together(awkward: Any) -> None:
    base, http, records = awkward
    for name in AWKWARD:
        body = {"records": [{"id": record["id"], "fields": {name: f"{name}!"}} for record in records[:3]]}
        changed = await http.patch(base.path(), json=body)
        assert [record["fields"][name] for record in changed.json()["records"]] == [f"{name}!"] * 3
        one = await http.patch(f"{base.path()}/{records[3]['id']}", json={"fields": {name: "?"}})
        assert one.json()["fields"][name] == "?"
        undone = {"records": [{"id": r["id"], "fields": {name: r["fields"][name]}} for r in records[:4]]}
        assert (await http.patch(base.path(), json=undone)).status_code == 200


async def test_records_without_fields_have_pages_too(world: World, client: Client) -> None:
    base = await world.tenant()
    await base.add_table("Tasks", [])
    http = client(await base.token())
    made = (await http.post(base.path(), json={"records": [{"fields": {}}] * 101})).json()["records"]
    page = (await http.get(base.path(), params={"limit": 100})).json()
    assert page["records"] == made[:100]
    assert page["next_cursor"] is not None
    one = await http.get(f"{base.path()}/{made[0]['id']}")
    assert (one.json(), one.json()["fields"]) == (made[0], {})
    none = await http.get(base.path(), params={"limit": 100, "fields": ""})
    assert (none.status_code, none.json()["errors"][0]["pointer"]) == (400, "fields")
