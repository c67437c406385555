"""The starter's view of `control.operations`, on the one connection that holds the starter's lock."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from core.ids import Ulid

_ROW = """o.id, o.kind, o.subject_id, o.tenant_id, o.base_id, o.input_json, o.requested_by, o.created_at,
          o.workflow_id, o.run_id, o.error_json"""


@dataclass(frozen=True)
class Queued:
    """One operation as the starter needs it."""

    id: Ulid
    kind: str
    subject_id: str
    tenant_id: Ulid | None
    base_id: Ulid | None
    input: dict[str, Any]
    requested_by: str
    created_at: datetime
    workflow_id: str | None
    run_id: str | None
    error: dict[str, Any] | None
    """Why an earlier run of it was ended from outside, or is being undone."""


async def become_starter(conn: asyncpg.Connection) -> bool:
    """Take the lock of the one process that starts runs; it is held as long as the session lives."""
    return bool(
        await conn.fetchval("select pg_try_advisory_lock(hashtext('planebase'), hashtext('starter'))")
    )


async def claim(conn: asyncpg.Connection, kinds: list[str]) -> Queued | None:
    """Mark the oldest operation that may run as running, and return it.

    It waits behind others of its kind and subject; a schema also waits for its tenant to be at home.
    """
    row = await conn.fetchrow(
        f"""
        with next as (
          select o.id from control.operations o
           where o.state = 'queued' and o.not_before <= now() and o.kind = any ($1::text[])
             and not exists (select 1 from control.operations r
                              where r.kind = o.kind and r.subject_id = o.subject_id and r.state = 'running')
             and not exists (select 1 from control.operations q
                              where q.kind = o.kind and q.subject_id = o.subject_id and q.state = 'queued'
                                and q.id < o.id)
             and (o.kind <> 'schema_apply'
                  or exists (select 1 from gateway.placements p
                              where p.tenant_id = o.tenant_id and p.state = 'active'))
           order by o.not_before, o.id limit 1
             for update of o skip locked)
        update control.operations o
           set state = 'running', run_id = null, started_at = now(), updated_at = now()
          from next where o.id = next.id
        returning {_ROW}""",  # noqa: S608  (a list of columns)
        kinds,
    )
    return None if row is None else _queued(row)


async def unstarted(conn: asyncpg.Connection, limit: int) -> list[Queued]:
    """Return operations that were claimed and have no run that we know of."""
    rows = await conn.fetch(
        f"""
        select {_ROW} from control.operations o
         where o.state = 'running' and o.run_id is null order by o.id limit $1""",  # noqa: S608
        limit,
    )
    return [_queued(row) for row in rows]


async def under_way(conn: asyncpg.Connection, after: str, limit: int) -> list[Queued]:
    """Return operations that have a run, by id, those after `after`."""
    rows = await conn.fetch(
        f"""
        select {_ROW} from control.operations o
         where o.state = 'running' and o.run_id is not null and o.id > $1
         order by o.id limit $2""",  # noqa: S608
        after,
        limit,
    )
    return [_queued(row) for row in rows]


async def started(conn: asyncpg.Connection, operation_id: Ulid, workflow_id: str, run_id: str) -> None:
    """Note which run does the work, even if it is over by now."""
    await conn.execute(
        """
        update control.operations set workflow_id = $2, run_id = $3, updated_at = now()
         where id = $1 and (workflow_id, run_id) is distinct from ($2, $3)""",
        operation_id,
        workflow_id,
        run_id,
    )


async def put_back(conn: asyncpg.Connection, operation_id: Ulid, delay_s: float) -> None:
    """Queue a claimed operation again that no run was started for."""
    await conn.execute(
        """
        update control.operations
           set state = 'queued', started_at = null, updated_at = now(),
               not_before = now() + make_interval(secs => $2)
         where id = $1 and state = 'running' and run_id is null""",
        operation_id,
        delay_s,
    )


async def settle(
    conn: asyncpg.Connection, operation_id: Ulid, state: Literal["failed", "canceled"], error: dict[str, Any]
) -> bool:
    """End an operation whose run has ended without doing so; False when it had ended after all."""
    row = await conn.fetchval(
        """
        update control.operations
           set state = $2, error_json = $3::jsonb, cancelable = false, eta = null,
               ended_at = now(), updated_at = now()
         where id = $1 and state = 'running' returning id""",
        operation_id,
        state,
        json.dumps(error),
    )
    return row is not None


async def leave(conn: asyncpg.Connection, operation_id: Ulid, run_id: str, error: dict[str, Any]) -> bool:
    """Leave an operation whose run has ended to a fresh one, and let none of its steps through any more.

    False when it had ended after all.
    """
    row = await conn.fetchval(
        """
        update control.operations
           set run_id = null, error_json = $3::jsonb, cancelable = false, eta = null, updated_at = now()
         where id = $1 and state = 'running' and run_id = $2 returning id""",
        operation_id,
        run_id,
        json.dumps(error),
    )
    return row is not None


async def depth(conn: asyncpg.Connection) -> int:
    """Return how many operations wait."""
    return int(await conn.fetchval("select count(*) from control.operations where state = 'queued'"))


def _queued(row: asyncpg.Record) -> Queued:
    values = dict(row)
    error = values.pop("error_json")
    return Queued(
        input=json.loads(values.pop("input_json")),
        error=None if error is None else json.loads(error),
        **values,
    )
