"""Whatever is written, history and `as_of` tell what a plain model tells, two writers that cross included."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import ids
from tests.api.data.conftest import Client
from tests.api.data.test_as_of import listed
from tests.api.data.world import Base, World

FIELDS = [
    {"name": "Name", "type": "text"},
    {"name": "Count", "type": "integer"},
    {"name": "Mail", "type": "email", "unique": True},
]
RECORDS = 3
Fields = dict[str, Any]

_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "Name": st.sampled_from(["a", "b", None]),
        "Count": st.sampled_from([1, 2**62, None]),
        "Mail": st.sampled_from(["x", "y", None]),
    },
)
_STEP = st.one_of(
    st.tuples(st.just("create"), st.just(0), _VALUES),
    st.tuples(
        st.sampled_from(["update", "update", "delete", "restore"]), st.integers(0, RECORDS - 1), _VALUES
    ),
)
# Two that cross are about one record.
_CROSSING = st.tuples(
    st.sampled_from(["update", "delete", "restore"]), st.sampled_from(["update", "delete", "restore"]),
    st.integers(0, RECORDS - 1), _VALUES, _VALUES,
).map(lambda drawn: [(drawn[0], drawn[2], drawn[3]), (drawn[1], drawn[2], drawn[4])])  # fmt: skip
_STEPS = st.lists(_STEP.map(lambda step: [step]) | _CROSSING, min_size=1, max_size=14)


@dataclass
class Record:
    """Every version that a record had: what was done, and the values after it."""

    id: str
    versions: list[tuple[str, Fields | None]] = field(default_factory=list)

    @property
    def now(self) -> Fields | None:
        return self.versions[-1][1]

    @property
    def last(self) -> Fields:
        """The values it has, or had when it was deleted."""
        found = self.now or self.versions[-2][1]
        assert found is not None
        return found


@dataclass
class Model:
    """A table as it should be."""

    records: list[Record] = field(default_factory=list)

    def after(self, record: Record, action: str, values: Fields) -> tuple[int, Fields | None]:
        """Return the status that an action has now, and the values after it."""
        if action == "restore":
            if record.now is not None:
                return 409, record.now
            return self._if_free(record, record.last)
        if record.now is None:
            return 404, None
        if action == "delete":
            return 200, None
        return self._if_free(record, record.now | values)

    def _if_free(self, record: Record, values: Fields) -> tuple[int, Fields | None]:
        others = [r.now for r in self.records if r is not record and r.now is not None]
        taken = values["Mail"] is not None and values["Mail"] in (other["Mail"] for other in others)
        return (409, record.now) if taken else (200, values)

    def apply(self, record: Record, action: str, values: Fields) -> int:
        """Do what an action does; returns its status."""
        was = record.now
        status, after = self.after(record, action, values)
        if status == 200 and after != was:
            record.versions.append((action, after))
        return status

    def state(self) -> dict[str, tuple[int, Fields]]:
        """The records that are there, with their versions."""
        return {r.id: (len(r.versions), r.now) for r in self.records if r.now is not None}


@pytest.fixture(scope="module")
async def base(world: World) -> Base:
    """A tenant's base without tables."""
    return await world.tenant()


async def act(http: httpx.AsyncClient, path: str, action: str, values: Fields) -> httpx.Response:
    if action == "update":
        return await http.patch(path, json={"fields": values})
    if action == "delete":
        return await http.delete(path)
    return await http.post(f"{path}/restore")


async def cross(http: httpx.AsyncClient, path: str, model: Model, record: Record, steps: Any) -> None:
    """Do two things at once; one order of the two explains both answers."""
    answers = await asyncio.gather(*(act(http, path, action, values) for _, (action, values) in steps))
    seen = [(a.status_code, a.json().get("version") if a.status_code == 200 else None) for a in answers]
    present = [*record.versions]
    for order in ((0, 1), (1, 0)):
        record.versions[:] = present
        explained: list[Any] = [None, None]
        for n in order:
            _, (action, values) = steps[n]
            status = model.apply(record, action, values)
            explained[n] = (status, len(record.versions) if status == 200 else None)
        if explained == seen:
            return
    # Both looked before either wrote: what came second found that it no longer fits.
    raise AssertionError((steps, seen, [a.text for a in answers if a.is_error], present))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
async def test_the_past_is_what_the_model_says(base: Base, client: Client, world: World, steps: Any) -> None:
    http = client(await base.token())
    await base.add_table(name := ids.new(), FIELDS)
    path, model = base.path(name), Model()
    moments: list[tuple[str, dict[str, tuple[int, Fields]]]] = []
    async with world.databases.own("data") as conn:
        for step in steps:
            action, which, values = step[0]
            values = mailed(values)
            if action == "create" or not model.records:
                record = Record("", [("create", dict.fromkeys(("Name", "Count", "Mail")) | values)])
                status, _ = model._if_free(record, record.last)
                made = await http.post(path, json={"fields": values})
                assert made.status_code == (201 if status == 200 else 409)
                if status == 200:
                    record.id = made.json()["id"]
                    model.records.append(record)
            else:
                record = model.records[which % len(model.records)]
                here = f"{path}/{record.id}"
                if len(step) == 1:
                    answer = await act(http, here, action, values)
                    assert answer.status_code == model.apply(record, action, values), (action, answer.text)
                else:
                    await cross(
                        http, here, model, record, [(n, (s[0], mailed(s[2]))) for n, s in enumerate(step)]
                    )
            now = await conn.fetchval("select clock_timestamp()")
            moments.append((now.isoformat(), model.state()))
    for record in model.records:
        await check_history(http, path, record)
    for moment, state in moments:
        for limit in (1, 100):
            rows = await listed(http, base_of(base, name), as_of=moment, limit=limit)
            assert {r["id"]: (r["version"], r["fields"]) for r in rows} == state
            assert [r["id"] for r in rows] == sorted(state)
        for record in model.records:
            one = await http.get(f"{path}/{record.id}", params={"as_of": moment})
            assert one.status_code == (200 if record.id in state else 404)
            if record.id in state:
                assert (one.json()["version"], one.json()["fields"]) == state[record.id]
    deleted = {
        r["id"]: (r["version"], r["fields"]) for r in (await http.get(trash_of(path))).json()["records"]
    }
    assert deleted == {r.id: (len(r.versions), r.last) for r in model.records if r.now is None}


async def check_history(http: httpx.AsyncClient, path: str, record: Record) -> None:
    entries: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = (await http.get(f"{path}/{record.id}/history", params={"limit": 2} | cursor)).json()
        entries += page["changes"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    entries.reverse()
    befores = [None, *(values for _, values in record.versions)]
    assert page["complete"]
    assert [(e["version"], e["action"], e["before"], e["after"]) for e in entries] == [
        (n, action, before, after)
        for n, ((action, after), before) in enumerate(zip(record.versions, befores, strict=False), 1)
    ]
    for entry in entries:
        before, after = entry["before"] or {}, entry["after"] or {}
        assert entry["changed"] == [
            f["name"] for f in FIELDS if before.get(f["name"]) != after.get(f["name"])
        ]


def mailed(values: Fields) -> Fields:
    return values | {"Mail": f"{values['Mail']}@b.co"} if values.get("Mail") else values


def base_of(base: Base, name: str) -> Base:
    """The base, with the table where `listed` looks."""
    return Base(base.world, base.tenant_id, base.workspace_id, base.id, {"Tasks": base.tables[name]})


def trash_of(path: str) -> str:
    return path.removesuffix("records") + "trash"
