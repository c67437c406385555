"""Tenants with bases, tables and tokens on the real databases, as provisioning and schema changes leave them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core import ids, token
from core.ids import Ulid
from core.schema.ops.create_table import CreateTable
from core.schema.spec import FieldSpec, TableSpec
from db.data import names, tenants
from db.data.ddl import DDL
from db.data.ddl.base import Sql, Target
from tests.conftest import CLUSTER_ID, Databases

CHOICES = {"choices": [{"name": name} for name in ("open", "todo", "doing", "done", "closed")]}
FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "Name", "type": "text", "required": True},
    {"name": "Note", "type": "long_text"},
    {"name": "Count", "type": "integer"},
    {"name": "Amount", "type": "number"},
    {"name": "Done", "type": "boolean"},
    {"name": "Due", "type": "date"},
    {"name": "At", "type": "datetime"},
    {"name": "Status", "type": "single_select", "options": CHOICES},
    {"name": "Tags", "type": "multi_select", "options": {"choices": [{"name": n} for n in "abc"]}},
    {"name": "Mail", "type": "email", "unique": True},
    {"name": "Site", "type": "url"},
    {"name": "Data", "type": "json"},
    {"name": 'A "strange", (name).with \\ all / of ~ it\'s', "type": "text"},
)


@dataclass
class Base:
    """A base in a workspace, and its tables by name."""

    world: "World"
    tenant_id: Ulid
    workspace_id: Ulid
    id: Ulid
    tables: dict[str, TableSpec] = field(default_factory=dict)

    def path(self, table: str = "Tasks") -> str:
        """Where the records of a table are."""
        return f"/bases/{self.id}/tables/{self.tables[table].id}/records"

    async def add_table(self, name: str, fields: Sequence[dict[str, Any]] = FIELDS) -> TableSpec:
        """Make a table as a schema application does."""
        made = TableSpec(
            id=ids.new(), name=name, fields=tuple(FieldSpec(id=ids.new(), **each) for each in fields)
        )
        target = Target(self.tenant_id, self.workspace_id, self.id, 1, 1)
        await self.apply(DDL["create_table"].up(CreateTable(table=made, pointer=""), target))
        self.tables[name] = made
        return made

    async def apply(self, statements: Sequence[Sql]) -> None:
        """Run DDL and count up the catalog's version, in one transaction."""
        async with self.world.databases.own("data") as conn, conn.transaction():
            await conn.execute("set local role tenant_owner")
            for statement in statements:
                await conn.execute(statement.text, *statement.args)
            await conn.execute(
                "update platform.fences set catalog_version = catalog_version + 1 where tenant_id = $1",
                self.tenant_id,
            )

    async def token(
        self,
        *scopes: str,
        role: str | None = None,
        base_id: Ulid | None = None,
        workspace_id: Ulid | None = None,
        expires_in_s: float | None = None,
    ) -> "Token":
        """Make a token of this base's tenant; with `role`, by a user who has it in this base's workspace."""
        made, token_id = token.make(), ids.new()
        user_id = None
        async with self.world.databases.own("control") as conn:
            if role is not None:
                user_id = ids.new()
                await conn.execute(
                    "insert into control.users (id, email, name) values ($1, $2, 'U')",
                    user_id,
                    f"{user_id}@example.com",
                )
                await conn.execute(
                    "insert into control.memberships (id, workspace_id, user_id, role) values ($1, $2, $3, $4)",
                    ids.new(),
                    self.workspace_id,
                    user_id,
                    role,
                )
            await conn.execute(
                "insert into control.api_tokens (id, tenant_id, workspace_id, base_id, hint, token_hash, scopes,"
                " created_by_user, expires_at)"
                " values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))",
                token_id,
                self.tenant_id,
                workspace_id,
                base_id,
                made.hint,
                made.hash,
                list(scopes or ("records:read", "records:write")),
                user_id,
                expires_in_s,
            )
        return Token(made.secret, token_id, user_id)


@dataclass(frozen=True)
class Token:
    """A token's text and ids."""

    secret: str
    id: Ulid
    user_id: Ulid | None

    @property
    def headers(self) -> dict[str, str]:
        """What a request with it carries."""
        return {"Authorization": f"Bearer {self.secret}"}


@dataclass
class World:
    """The databases, and how to people them."""

    databases: Databases

    async def tenant(self, *, status: str = "active") -> Base:
        """Make a tenant with a workspace and an empty base."""
        tenant_id = ids.new()
        async with self.databases.own("control") as conn:
            await conn.execute(
                "insert into control.tenants (id, slug, name, region, status) values ($1, $2, 'T', 'local', $3)",
                tenant_id,
                tenant_id,
                status,
            )
            await conn.execute(
                "insert into gateway.placements (tenant_id, cluster_id, database, schema, region, state, generation)"
                " values ($1, $2, 'data', $3, 'local', 'active', 1)",
                tenant_id,
                CLUSTER_ID,
                names.schema_name(tenant_id),
            )
        async with self.databases.connect("tenants_worker", "data") as conn, conn.transaction():
            await tenants.create_home(conn, tenant_id, ids.new(), 1)
        return await self.base(tenant_id)

    async def base(self, tenant_id: Ulid, workspace_id: Ulid | None = None) -> Base:
        """Make an empty base, in a workspace of its own unless one is named."""
        made = Base(self, tenant_id, workspace_id or ids.new(), ids.new())
        async with self.databases.own("control") as conn:
            if workspace_id is None:
                await conn.execute(
                    "insert into control.workspaces (id, tenant_id, name) values ($1, $2, 'W')",
                    made.workspace_id,
                    tenant_id,
                )
            await conn.execute(
                "insert into control.bases (id, tenant_id, workspace_id, name) values ($1, $2, $3, 'B')",
                made.id,
                tenant_id,
                made.workspace_id,
            )
        bases = names.metadata(tenant_id, "bases")
        await made.apply(
            [
                Sql(
                    f"insert into {bases} (id, workspace_id, name) values ($1, $2, 'B')",
                    (made.id, made.workspace_id),
                )
            ]
        )
        return made

    async def control(self, sql: str, *args: Any) -> None:
        """Change the Control DB as its owner."""
        async with self.databases.own("control") as conn:
            await conn.execute(sql, *args)

    async def changes(self, base: Base) -> list[dict[str, Any]]:
        """Return the base's change rows in the order of writing."""
        async with self.databases.own("data") as conn:
            rows = await conn.fetch(
                "select record_id, version, action, operation_id, actor_id, token_id, before::text, after::text"
                " from platform.changes where tenant_id = $1 and base_id = $2 order by xid, seq",
                base.tenant_id,
                base.id,
            )
        return [dict(row) for row in rows]
