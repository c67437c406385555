"""How much a tenant holds on a cluster; read as `tenant_reader`, whom row policies do not hide anything from."""

import asyncpg

_COUNT_MAX_S = 20


async def tables(conn: asyncpg.Connection, schema: str) -> list[str]:
    """Return the physical tables of records in a tenant's schema."""
    rows = await conn.fetch(
        """select c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where n.nspname = $1 and c.relkind in ('r', 'p') and starts_with(c.relname, 't_')
            order by c.relname""",
        schema,
    )
    return [row["relname"] for row in rows]


async def records(conn: asyncpg.Connection, schema: str, table: str) -> int:
    """Return how many records a table holds; where counting takes too long, what the planner believes."""
    name = await conn.fetchval("select format('%I.%I', $1::text, $2::text)", schema, table)
    try:
        async with conn.transaction():
            await conn.execute(f"set local statement_timeout = '{_COUNT_MAX_S}s'")
            return int(await conn.fetchval(f"select count(*) from {name}"))  # noqa: S608  (quoted by format)
    except asyncpg.QueryCanceledError:
        guess = await conn.fetchval(
            "select reltuples::bigint from pg_catalog.pg_class where oid = $1::regclass", name
        )
        return max(0, int(guess))
    except asyncpg.UndefinedTableError:
        return 0  # dropped since the list was read


async def stored_bytes(conn: asyncpg.Connection, schema: str) -> int:
    """Return what a tenant's tables take with their indexes, and its files."""
    in_tables = await conn.fetchval(
        """select coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint
             from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where n.nspname = $1 and c.relkind in ('r', 'p') and left(c.relname, 2) in ('t_', 'l_')""",
        schema,
    )
    files = await conn.fetchval("select format('%I.files', $1::text)", schema)
    if await conn.fetchval("select to_regclass($1) is null", files):
        return int(in_tables)
    in_files = await conn.fetchval(f"select coalesce(sum(size_bytes), 0)::bigint from {files}")  # noqa: S608
    return int(in_tables) + int(in_files)
