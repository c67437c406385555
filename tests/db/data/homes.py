"""A tenant's home with one base in it, and how tests change its schema and write its records."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg

from core import ids
from core.ids import Ulid
from core.schema.diff import diff
from core.schema.ops import Op
from core.schema.plan import Plan
from core.schema.spec import BaseSpec, read_spec
from db.data import names, tenants
from db.data.ddl import bases, metadata
from db.data.ddl.apply import apply_step, undo_step
from db.data.ddl.base import Target
from db.data.homes import Home as DataHome
from db.data.homes import Homes
from db.pools import Address
from tests.conftest import Databases


@dataclass
class Home:
    """One base, the schema worker's connection to it, and the spec that it has."""

    databases: Databases
    conn: asyncpg.Connection
    target: Target
    spec: BaseSpec = field(default_factory=BaseSpec)

    def plan(self, desired: Any) -> Plan:
        """Plan the way to a spec."""
        return diff(self.spec, read_spec(desired), ids.stream())

    async def take(self, steps: Sequence[Op], operation_id: Ulid | None = None) -> Ulid:
        """Take steps as one application."""
        operation_id = operation_id or ids.new()
        for step, op in enumerate(steps):
            assert await apply_step(self.conn, self.target, operation_id, step, op)
        return operation_id

    async def undo(self, steps: Sequence[Op], operation_id: Ulid) -> None:
        """Undo the steps of an application, last first."""
        for step, op in reversed([*enumerate(steps)]):
            assert await undo_step(self.conn, self.target, operation_id, step, op)

    async def want(self, desired: Any) -> Plan:
        """Bring the base to a spec."""
        plan = self.plan(desired)
        await self.take(plan.steps)
        self.spec = plan.spec
        return plan

    async def read(self) -> BaseSpec:
        """Return what the metadata says."""
        async with self.owner():
            return await metadata.read_base(self.conn, self.target)

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[asyncpg.Connection]:
        """Be the tenants' owner in one transaction."""
        async with self.conn.transaction():
            await self.conn.execute("set local role tenant_owner")
            yield self.conn

    @asynccontextmanager
    async def as_member(
        self, conn: asyncpg.Connection, role: str = "editor", **claims: str
    ) -> AsyncIterator[None]:
        """Be the tenant's role with claims in one transaction, as the Data API's calls are."""
        async with conn.transaction():
            here = {
                "tenant": self.target.tenant_id,
                "workspace": self.target.workspace_id,
                "base": self.target.base_id,
                "role": role,
                **claims,
            }
            # Inside the fence, as a writer is; then with whatever claims the test wants.
            await conn.execute(
                "select platform.enter_to_write($1, '- - editor', $2, null, 1, $3, null, $3, null, null)",
                self.target.tenant_id,
                self.target.generation,
                ids.new(),
            )
            await conn.execute("select set_config('pb.claims', $1, true)", " ".join(here.values()))
            await conn.execute(f"set local role {names.role(self.target.tenant_id)}")
            yield

    def table(self, nth: int = 0) -> str:
        """The physical name of the base's nth table."""
        return names.table(self.target.tenant_id, self.spec.tables[nth].key)

    def column(self, nth: int = 0) -> str:
        """The physical name of the nth field of the first table."""
        return names.column(self.spec.tables[0].fields[nth].key)

    async def fill(self, *values: Any) -> None:
        """Insert a record for each value of the first field of the first table."""
        async with self.owner():
            for value in values:
                await self.conn.execute(
                    f"insert into {self.table()} (id, {self.column()}) values ($1, $2)", ids.new(), value
                )

    async def until_building(self, pid: int) -> None:
        """Wait until a backend that builds an index waits for the transactions before it."""
        waiting = "select 1 from pg_stat_progress_create_index where pid = $1 and phase like 'waiting%'"
        for _ in range(500):
            if await self.conn.fetchval(waiting, pid):
                return
            await asyncio.sleep(0.02)
        raise TimeoutError("the build never waited for the transaction before it")

    async def catalog_version(self) -> int:
        """Return how often something of the tenant's schema has changed."""
        return int(
            await self.conn.fetchval(
                "select catalog_version from platform.fences where tenant_id = $1", self.target.tenant_id
            )
        )

    async def physical(self) -> str:
        """Return all that PostgreSQL knows of the base's tables, in an order that tells nothing."""
        rows = await self.conn.fetch(_PHYSICAL, names.schema_name(self.target.tenant_id))
        text = json.dumps([tuple(row) for row in rows])
        for known in (self.target.tenant_id, self.target.workspace_id, self.target.base_id):
            text = text.replace(known, "…")
        return text


_PHYSICAL = """
with t as (
  select c.oid, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = $1 and c.relkind = 'r' and left(c.relname, 2) in ('t_', 'l_'))
select relname, 'column', attname::text, format_type(atttypid, atttypmod) || ' ' || attnotnull
       || ' ' || attcollation::regcollation
  from t join pg_attribute on attrelid = oid and attnum > 0 and not attisdropped
union all select t.relname, 'index', '', pg_get_indexdef(indexrelid) || indisvalid
  from t join pg_index on indrelid = oid
union all select t.relname, 'constraint', conname::text, pg_get_constraintdef(c.oid)
  from t join pg_constraint c on c.conrelid = t.oid
union all select t.relname, 'trigger', tgname::text, pg_get_triggerdef(g.oid)
  from t join pg_trigger g on g.tgrelid = t.oid
union all select t.relname, 'policy', polname::text,
       polcmd::text || coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '')
  from t join pg_policy on polrelid = t.oid
union all select t.relname, 'grant', '', relacl::text from t join pg_class using (oid)
union all select t.relname, 'security', '', relrowsecurity || ' ' || relforcerowsecurity || ' ' || relowner::regrole
  from t join pg_class using (oid)
order by 1, 2, 3, 4
"""


@asynccontextmanager
async def home(databases: Databases) -> AsyncIterator[Home]:
    """Make a tenant with one empty base."""
    target = Target(ids.new(), ids.new(), ids.new(), schema_version=1, generation=1)
    async with databases.connect("tenants_worker", "data") as conn, conn.transaction():
        await tenants.create_home(conn, target.tenant_id, ids.new(), target.generation)
    async with databases.connect("schema_worker", "data") as conn:
        await bases.open_base(conn, target, "Base")
        yield Home(databases, conn, target)


async def another_base(of: Home) -> Home:
    """Make another base of the same tenant."""
    target = replace(of.target, base_id=ids.new(), workspace_id=ids.new())
    await bases.open_base(of.conn, target, "Other")
    return Home(of.databases, of.conn, target)


@asynccontextmanager
async def line(databases: Databases) -> AsyncIterator[DataHome]:
    """Reach the cluster as the Data API does, by one connection, so that every call comes after the one before it."""
    homes = Homes("data_api", databases.passwords["data_api"], pool_max_size=1)
    yield homes.at(Address("127.0.0.1", databases.cluster.port, "data"))
    await homes.close()
