"""The past at size: every read of it is served by indexes and touches as much as its page needs."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from core import ids
from db.data import history, names, trash
from db.data.catalog import Catalog
from db.data.homes import Claims, Homes
from db.data.records import Call
from db.data.statements import Statement
from db.pools import Address
from tests.api.data.world import Base, World
from tests.conftest import Databases, own_databases

RECORDS = 20_000
VERSIONS = 5
DELETED = 5_000
_SCANS = ("Index Scan", "Index Only Scan")


class Past:
    """A large table, its call, and moments between the rounds of its changes."""

    def __init__(self, base: Base, call: Call, moments: list[datetime], first: list[str]) -> None:
        self.base, self.call, self.moments, self.first = base, call, moments, first

    @asynccontextmanager
    async def tenant(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection that has entered as the Data API does."""
        claims = self.call.claims
        async with self.base.world.databases.connect("data_api", "data") as conn, conn.transaction():
            await conn.execute("select platform.enter($1, $2, 1, null)", claims.tenant_id, claims.words)
            await conn.execute(f"set local role {names.role(claims.tenant_id)}")
            yield conn

    async def explained(
        self, statement: Statement, params: dict[str, Any], *record_ids: str
    ) -> dict[str, Any]:
        async with self.tenant() as conn:
            mode = "force_generic_plan" if statement.keep else "force_custom_plan"
            await conn.execute(f"set local plan_cache_mode = {mode}")
            await conn.execute(f"prepare past (jsonb, text[]) as {statement.sql}")
            row = await conn.fetchval(
                f"explain (analyze, buffers, format json) execute past"
                f" ('{json.dumps(params)}', '{{{','.join(record_ids)}}}')"
            )
            await conn.execute("deallocate past")
        plan: dict[str, Any] = json.loads(row)[0]["Plan"]
        return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def blocks(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def tables_read_whole(plan: dict[str, Any]) -> set[str]:
    """Return the tables that are scanned without an index, of those that hold anything."""
    return {
        node["Relation Name"]
        for node in nodes(plan)
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] != "identity"
        and node["Actual Loops"] and blocks(node)
    }  # fmt: skip


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Databases of our own: what a plan costs depends on all that a change log holds."""
    yield from own_databases(tmp_path_factory)


@pytest.fixture(scope="module")
async def past(databases: Databases) -> AsyncIterator[Past]:
    """20,000 records of five versions each, 2,000 of them deleted, a few with hundreds of versions."""
    base = await World(databases).tenant()
    table = await base.add_table(
        "Tasks", [{"name": "Name", "type": "text"}, {"name": "Count", "type": "integer"}]
    )
    physical, count = names.table(base.tenant_id, table.key), names.column(table.fields[1].key)
    made = ids.batch(ids.new(), RECORDS)
    moments = []
    async with databases.administer("data") as conn:
        await conn.execute(
            f"insert into {physical} (id, {count}) select id, n from unnest($1::text[]) with ordinality as r(id, n)",
            made,
        )
        for turn in range(1, VERSIONS):
            moments.append(await conn.fetchval("select clock_timestamp()"))
            await conn.execute(f"update {physical} set {count} = $1, version = version + 1", turn)
        moments.append(await conn.fetchval("select clock_timestamp()"))
        for turn in range(300):
            await conn.execute(
                f"update {physical} set {count} = $1, version = version + 1 where id = any ($2)",
                -turn,
                made[:3],
            )
        await conn.execute(f"delete from {physical} where id = any ($1)", made[RECORDS - DELETED :])
        await conn.execute(f"analyze {physical}; analyze platform.changes")
    homes = Homes("data_api", databases.passwords["data_api"], pool_max_size=2)
    home = homes.at(Address("127.0.0.1", databases.cluster.port, "data"))
    claims = Claims(base.tenant_id, base.workspace_id, base.id, "editor", 1, ids.new(), None)
    known = await Catalog().with_table(home, claims, table.key)
    call = Call(home, claims, Catalog(), known, known.tables[table.key], ids.new())
    yield Past(base, call, moments, [str(i) for i in made])
    await homes.close()


async def test_a_page_of_the_past_is_right_at_every_moment(past: Past) -> None:
    for turn, moment in enumerate(past.moments):
        page = await history.page_as_of(past.call, moment.isoformat(), None, past.first[9_999], 100)
        rows = json.loads(page.body)
        assert [row["id"] for row in rows] == past.first[10_000:10_100]
        assert {row["version"] for row in rows} == {turn + 1}
        assert [row["fields"]["Count"] for row in rows] == (
            [turn] * 100 if turn else [*range(10_001, 10_101)]
        )


@pytest.mark.parametrize("after", [0, 10_000, RECORDS - DELETED - 50])
async def test_a_page_of_the_past_costs_what_its_records_cost(past: Past, after: int) -> None:
    """It looks up one row of the log for each record of the page, and walks what has been deleted since by an index."""
    params = {"at": past.moments[1].isoformat(), "after": past.first[after], "limit": 100}
    plan = await past.explained(history._page_as_of(past.call.table, None), params)
    assert tables_read_whole(plan) == set()
    walked = [node["Actual Rows"] for node in scans(plan, "record_id_changed_at") if node["Actual Rows"]]
    assert walked == [history.MAX_LOOKED_AT]
    looked_up = [node for node in scans(plan, "record_id_version") if node["Actual Rows"]]
    assert [(node["Actual Loops"], node["Actual Rows"]) for node in looked_up] == [(101, 1)]
    assert blocks(looked_up[0]) < 101 * 8


@pytest.mark.parametrize("turn", [0, VERSIONS - 1])
async def test_a_record_with_many_versions_is_found_at_any_moment_by_few_blocks(
    past: Past, turn: int
) -> None:
    params = {"at": past.moments[turn].isoformat()}
    plan = await past.explained(history._get_as_of(past.call.table, None), params, past.first[0])
    assert tables_read_whole(plan) == set()
    assert blocks(plan) < 60
    answer = await history.get_as_of(past.call, past.first[0], past.moments[turn].isoformat(), None)
    assert json.loads(answer.body)["version"] == turn + 1


@pytest.mark.parametrize("before", [None, 150])
async def test_a_page_of_a_history_reads_its_own_versions(past: Past, before: int | None) -> None:
    params = {"before": before, "limit": 20}
    plan = await past.explained(history._entries(past.call.table), params, past.first[0])
    assert tables_read_whole(plan) == set()
    fetched = [node for node in scans(plan, "record_id_version") if node["Actual Rows"] > 1]
    assert [node["Actual Rows"] for node in fetched] == [21]
    assert blocks(plan) < 250


async def test_a_page_of_the_trash_reads_the_last_deletions(past: Past) -> None:
    plan = await past.explained(trash._page(past.call.table), {"limit": 50, "after": None})
    assert tables_read_whole(plan) == set()
    assert [node["Actual Rows"] for node in scans(plan, "changed_at_record_id") if node["Actual Rows"]] == [
        51
    ]
    rows = json.loads((await trash.page(past.call, None, 50)).body)
    assert [row["id"] for row in rows] == past.first[:-51:-1]


async def test_a_version_is_looked_up_before_it_is_deleted_or_restored(past: Past) -> None:
    """What a restore adds to an insert is the record's last row, found by the index."""
    plan = await past.explained(trash._deletion(past.call.table), {"fields": {}}, past.first[-1])
    assert tables_read_whole(plan) == set()
    assert blocks(plan) < 100


def scans(plan: dict[str, Any], index: str) -> list[dict[str, Any]]:
    """Return the scans of the change log's indexes on these columns."""
    return [node for node in nodes(plan) if node["Node Type"] in _SCANS and index in node["Index Name"]]
