"""A tenant's home on a data cluster: its role, its schema from tenant.sql, its fence; all or nothing."""

import re
from pathlib import Path

import asyncpg

from core.errors import Conflict
from core.ids import Ulid
from db.data import names

_TEMPLATE = (Path(__file__).parent / "tenant.sql").read_text()
_STEP = 0  # the ledger counts a schema application's steps; a home is one


async def create_home(conn: asyncpg.Connection, tenant_id: Ulid, operation_id: Ulid, generation: int) -> None:
    """Make the home, in the caller's transaction. Repeating it changes nothing; after a drop it is refused."""
    await _bounds(conn)
    await conn.execute("set local role tenant_owner")
    # A second attempt waits here for the first, if that is still on its way.
    await conn.execute(
        """
        insert into platform.schema_steps (tenant_id, operation_id, step, kind, state, ended_at)
        values ($1, $2, $3, 'create_home', 'done', now()) on conflict do nothing""",
        tenant_id,
        operation_id,
        _STEP,
    )
    state = await conn.fetchval(
        "select state from platform.schema_steps where tenant_id = $1 and operation_id = $2 and step = $3",
        tenant_id,
        operation_id,
        _STEP,
    )
    if state != "done":
        raise Conflict("this home was given up", code="operation_over")
    if await _exists(conn, tenant_id):
        return
    schema, role = names.schema(tenant_id), names.role(tenant_id)
    await conn.execute("set local role none")
    # Concurrent grants of one group fail with "tuple concurrently updated".
    await conn.execute("select pg_advisory_xact_lock(hashtext('planebase'), hashtext('tenant roles'))")
    if not await conn.fetchval("select 1 from pg_roles where rolname = $1", f"tenant_{tenant_id}"):
        await conn.execute(f"create role {role} nologin")
    await conn.execute(f"grant tenant_members to {role} with inherit true, set false")
    await conn.execute(f"grant {role} to data_api with inherit false, set true")
    await conn.execute("set local role tenant_owner")
    values = {"schema": schema, "role": role, "tenant": tenant_id}
    await conn.execute(re.sub(r":(schema|role|tenant)\b", lambda match: values[match[1]], _TEMPLATE))
    await conn.execute(
        "insert into platform.fences (tenant_id, generation, state) values ($1, $2, 'open')",
        tenant_id,
        generation,
    )


async def drop_home(conn: asyncpg.Connection, tenant_id: Ulid, operation_id: Ulid) -> None:
    """Take back what `create_home` made for this operation. Repeating it changes nothing."""
    await _bounds(conn)
    await conn.execute("set local role tenant_owner")
    await conn.execute(
        """
        insert into platform.schema_steps as s (tenant_id, operation_id, step, kind, state, ended_at)
        values ($1, $2, $3, 'create_home', 'undone', now())
        on conflict (tenant_id, operation_id, step) do update set state = 'undone', ended_at = now()
         where s.state <> 'undone'""",
        tenant_id,
        operation_id,
        _STEP,
    )
    await conn.execute(f"drop schema if exists {names.schema(tenant_id)} cascade")
    await conn.execute("delete from platform.fences where tenant_id = $1", tenant_id)
    await conn.execute("set local role none")
    await conn.execute("select pg_advisory_xact_lock(hashtext('planebase'), hashtext('tenant roles'))")
    await conn.execute(f"drop role if exists {names.role(tenant_id)}")


async def _exists(conn: asyncpg.Connection, tenant_id: Ulid) -> bool:
    return bool(await conn.fetchval("select 1 from platform.fences where tenant_id = $1", tenant_id))


async def _bounds(conn: asyncpg.Connection) -> None:
    # Shorter than the activity's own bound: a statement never goes on behind an attempt that was given up.
    await conn.execute("set local lock_timeout = '5s'; set local statement_timeout = '20s'")
