"""Alembic, one history per database: each migration is a transaction with lock and statement timeouts."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only

from db.roles import DATABASES

_HERE = Path(__file__).parent
LOCK_TIMEOUT = "2s"
STATEMENT_TIMEOUT = "60s"
# Alembic keeps its context in module globals.
_ONE_AT_A_TIME = asyncio.Lock()


def config(database: str, connection: Connection | None = None) -> Config:
    """Return the Alembic configuration of one database's history."""
    if database not in DATABASES:
        raise ValueError(f"no such database: {database}; there are {', '.join(DATABASES)}")
    cfg = Config()
    cfg.set_main_option("script_location", str(_HERE / database / "migrations"))
    cfg.set_main_option("path_separator", "os")
    cfg.attributes["connection"] = connection
    cfg.attributes["database"] = database
    return cfg


async def upgrade(database: str, owner_dsn: str, revision: str = "head") -> None:
    """Bring `database` to `revision`; all of it or, when a migration fails, nothing of that migration."""
    engine = create_async_engine(_asyncpg(owner_dsn), poolclass=NullPool)
    try:
        async with _ONE_AT_A_TIME, engine.connect() as conn:
            await conn.run_sync(lambda sync: command.upgrade(config(database, sync), revision))
    finally:
        await engine.dispose()


def run_environment(metadata: Any) -> None:
    """Run the migrations that Alembic asked for; a database's env.py calls this with its models' metadata."""
    connection = context.config.attributes["connection"]
    database = context.config.attributes["database"]
    # The version table stands in `public`, which only the owner may use, so that no migration has to make its home.
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=f"{database}_version",
        version_table_schema="public",
        transaction_per_migration=True,
        include_schemas=True,
        on_version_apply=None,
    )
    with context.begin_transaction():
        connection.execute(text(f"set local lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text(f"set local statement_timeout = '{STATEMENT_TIMEOUT}'"))
        context.run_migrations()


def run_sql(name: str, migration_file: str) -> None:
    """Run the SQL file `name` beside a migration, in that migration's transaction."""
    bind = op.get_bind()
    bind.execute(text(f"set local lock_timeout = '{LOCK_TIMEOUT}'"))
    bind.execute(text(f"set local statement_timeout = '{STATEMENT_TIMEOUT}'"))
    sql = (Path(migration_file).parent / name).read_text()
    # Through the driver: SQLAlchemy would prepare it, and a prepared statement is one statement only.
    await_only(bind.connection.driver_connection.execute(sql))  # type: ignore[union-attr]


def _asyncpg(dsn: str) -> str:
    return dsn.replace("postgresql://", "postgresql+asyncpg://", 1)


def main() -> None:
    """`python -m db.migrate DATABASE OWNER_DSN`: upgrade one database to the newest migration."""
    database, dsn = sys.argv[1:3]
    asyncio.run(upgrade(database, dsn))


if __name__ == "__main__":
    main()
