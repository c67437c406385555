"""The models say what the migrations made, and nothing else."""

import importlib
import re
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, MetaData, Text
from sqlalchemy.dialects.postgresql import base as postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from db import roles
from db.control.models import Xid8
from tests.conftest import Databases

# SQLAlchemy's own reflected DOMAIN does not say which operators it has.
pytestmark = pytest.mark.filterwarnings("ignore:Type object <class 'sqlalchemy.dialects.postgresql")

MODELLED = ("control", "audit", "activity", "alarms")
# Months and the tables beside them are made by functions; the models know their parents.
MADE_LATER = re.compile(r"_y\d{4}m\d\d$|_late$")


def differences(connection: Connection, database: str, metadata: MetaData) -> list[Any]:
    schemas = {schema.strip() for schema in roles.SCHEMAS[database].split(",")}

    def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
        if kind == "schema":
            return name in schemas
        return not (kind == "table" and name and MADE_LATER.search(name))

    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "include_name": is_ours,
            "compare_type": True,
            "compare_server_default": True,
        },
    )
    return compare_metadata(context, metadata)


async def compare(databases: Databases, database: str, metadata: MetaData) -> list[Any]:
    postgresql.ischema_names.setdefault("xid8", Xid8)
    engine = create_async_engine(
        databases.owner(database).replace("postgresql://", "postgresql+asyncpg://", 1),
        poolclass=NullPool,
        connect_args={"server_settings": {"search_path": ""}},
    )
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(differences, database, metadata)
    finally:
        await engine.dispose()


def metadata_of(database: str) -> MetaData:
    metadata: MetaData = importlib.import_module(f"db.{database}.models").Base.metadata
    return metadata


@pytest.mark.parametrize("database", MODELLED)
async def test_models_and_migrations_agree(databases: Databases, database: str) -> None:
    assert await compare(databases, database, metadata_of(database)) == []


async def test_a_difference_would_be_seen(databases: Databases) -> None:
    changed = MetaData(schema="alarms")
    for table in metadata_of("alarms").tables.values():
        table.to_metadata(changed)
    changed.tables["alarms.alerts"].append_column(Column("of_nobody", Text))
    found = await compare(databases, "alarms", changed)
    assert [(change[0], change[3].name) for change in found] == [("add_column", "of_nobody")]
