"""A link's pairs: behind the walls of its base, and always what its column holds."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import ids
from db.data import names
from tests.conftest import Databases
from tests.db.data.homes import Home, another_base, home

SPEC: dict[str, Any] = {
    "tables": [
        {"name": "Tasks", "fields": [{"name": "Who", "type": "link", "options": {"table": "People"}}]},
        {"name": "People", "fields": []},
    ]
}
PEOPLE = ids.batch(ids.new(), 4)
TASKS = ids.batch(ids.new(), 4)
CHANGES = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"), st.sets(st.integers(0, 3), min_size=1),
            st.none() | st.lists(st.sampled_from(PEOPLE), unique=True),
        ),
        st.tuples(st.just("touch"), st.sets(st.integers(0, 3), min_size=1), st.none()),
        st.tuples(st.just("delete"), st.sets(st.integers(0, 3), min_size=1), st.none()),
    ),
    max_size=8,
)  # fmt: skip


@pytest.fixture
async def base(databases: Databases) -> AsyncIterator[Home]:
    async with home(databases) as made:
        await made.want(SPEC)
        yield made


def pairs(base: Home) -> str:
    return names.pairs(base.target.tenant_id, base.spec.tables[0].fields[0].key)


@given(CHANGES)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_whatever_is_written_the_pairs_are_what_the_column_holds(base: Home, changes: Any) -> None:
    table, column = base.table(), base.column()
    async with base.databases.connect("data_api", "data") as conn, base.as_member(conn):
        await conn.execute(f"delete from {table}")
        held: dict[str, set[str]] = {}
        for kind, places, who in changes:
            here = [TASKS[place] for place in places]
            if kind == "write":
                await conn.execute(
                    f"insert into {table} (id, {column}) select id, $2 from unnest($1::text[]) id"
                    f" on conflict (id) do update set {column} = excluded.{column}",
                    here,
                    who,
                )
                held |= {task: set(who or ()) for task in here}
            elif kind == "touch":
                await conn.execute(f"update {table} set version = version + 1 where id = any ($1)", here)
            else:
                await conn.execute(f"delete from {table} where id = any ($1)", here)
                held = {task: people for task, people in held.items() if task not in here}
            found = await conn.fetch(f"select target, source from {pairs(base)}")
            assert {tuple(row) for row in found} == {
                (person, task) for task, people in held.items() for person in people
            }


async def test_pairs_are_seen_and_changed_within_the_claims_only(base: Home) -> None:
    async with base.owner():
        await base.conn.execute(
            f"insert into {base.table()} (id, {base.column()}) values ($1, $2)", TASKS[0], PEOPLE
        )
    counted = f"select count(*) from {pairs(base)}"
    async with base.databases.connect("data_api", "data") as conn:
        async with base.as_member(conn, role="viewer"):
            assert await conn.fetchval(counted) == len(PEOPLE)
            assert await conn.execute(f"delete from {pairs(base)}") == "DELETE 0"
        for claim in ("tenant", "workspace", "base"):
            async with base.as_member(conn, **{claim: ids.new()}):
                assert await conn.fetchval(counted) == 0
                assert await conn.execute(f"delete from {pairs(base)}") == "DELETE 0"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with base.as_member(conn, **{claim: ids.new()}):
                    await conn.execute(f"insert into {pairs(base)} values ($1, $1)", ids.new())
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with base.as_member(conn, role="owner"):
                await conn.execute(f"update {pairs(base)} set target = source")
        async with home(base.databases) as stranger:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with stranger.as_member(conn):
                    await conn.fetchval(counted)
    other = await another_base(base)
    await other.want(SPEC)
    async with base.databases.connect("data_api", "data") as conn, other.as_member(conn):
        assert await conn.fetchval(counted) == 0
        assert await conn.fetchval(f"select count(*) from {pairs(other)}") == 0


async def test_a_link_undone_leaves_neither_pairs_nor_triggers(base: Home) -> None:
    before = await base.physical()
    desired = base.spec.model_dump(mode="json")
    desired["tables"][1]["fields"] = [{"name": "Boss", "type": "link", "options": {"table": "People"}}]
    plan = base.plan(desired)
    operation = await base.take(plan.steps)
    assert await base.physical() != before
    await base.undo(plan.steps, operation)
    assert await base.physical() == before
    await base.want(desired)
    await base.want(
        {"tables": [desired["tables"][0] | {"fields": []}, desired["tables"][1] | {"fields": []}]}
    )
    assert '"l_' not in await base.physical()
