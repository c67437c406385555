"""The row of a base in its tenant's schema: there before its first table, told when a version is applied."""

import asyncpg

from core.ids import Ulid
from db.data import names
from db.data.ddl import entry
from db.data.ddl.base import Target


async def open_base(conn: asyncpg.Connection, target: Target, name: str, status: str = "active") -> None:
    """Make the row of a base, or bring its name and status up to date. Repeating it changes nothing."""
    async with entry.owner(conn, target):
        bases = names.metadata(target.tenant_id, "bases")
        await conn.execute(
            f"insert into {bases} as base (id, workspace_id, name, status) values ($1, $2, $3, $4)"  # noqa: S608
            " on conflict (id) do update set name = excluded.name, status = excluded.status, updated_at = now()"
            " where (base.name, base.status) <> (excluded.name, excluded.status)",
            target.base_id,
            target.workspace_id,
            name,
            status,
        )


async def publish(conn: asyncpg.Connection, target: Target) -> None:
    """Tell that the base is now at the target's schema version. Repeating it changes nothing."""
    async with entry.owner(conn, target):
        bases = names.metadata(target.tenant_id, "bases")
        changed: Ulid | None = await conn.fetchval(
            f"update {bases} set schema_version = $2, updated_at = now()"  # noqa: S608
            " where id = $1 and schema_version < $2 returning id",
            target.base_id,
            target.schema_version,
        )
        if changed:
            await entry.tell(conn, target)
