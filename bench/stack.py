"""What is measured: the real PostgreSQL with one tenant, and one Data API process before it."""

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg

from core import ids, token
from core.schema.ops.create_table import CreateTable
from core.schema.spec import FieldSpec, TableSpec
from db import migrate, roles
from db.data import names, tenants
from db.data.ddl import DDL
from db.data.ddl.base import Target
from planebase import child
from planebase.ports import free_port
from planebase.postgres import Cluster

ROOT = Path(__file__).parent.parent
_CHOICES = {"choices": [{"name": name} for name in ("open", "todo", "done")]}
FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "Name", "type": "text", "required": True},
    {"name": "Note", "type": "long_text"},
    {"name": "Count", "type": "integer"},
    {"name": "Amount", "type": "number"},
    {"name": "Done", "type": "boolean"},
    {"name": "Due", "type": "date"},
    {
        "name": "Status",
        "type": "single_select",
        "options": _CHOICES,
    },
    {"name": "Data", "type": "json"},
)


def values(n: int) -> dict[str, Any]:
    """One record's fields: 8 typed columns, about 460 bytes."""
    return {
        "Name": f"record number {n}",
        "Note": f"{n:06d} " + "lorem ipsum dolor sit amet, consectetur " * 4 + "adipiscing elit sed do.",
        "Count": n,
        "Amount": n / 4,
        "Done": n % 2 == 0,
        "Due": f"2026-{n % 12 + 1:02d}-{n % 28 + 1:02d}",
        "Status": ("open", "todo", "done")[n % 3],
        "Data": {"a": n, "b": [1, 2, 3], "c": "some text in here", "d": None},
    }


@dataclass(frozen=True)
class Stack:
    """Where things are; `twin` is the table without change log that the raw side writes to."""

    cluster: Cluster
    passwords: dict[str, str]
    tenant_id: str
    workspace_id: str
    base_id: str
    table: TableSpec
    secret: str
    port: int
    record_ids: list[str]
    pid: int = 0
    """The Data API's process."""

    @property
    def path(self) -> str:
        """The address of the table's records."""
        return f"/bases/{self.base_id}/tables/{self.table.id}/records"

    @property
    def physical(self) -> str:
        """The physical table."""
        return names.table(self.tenant_id, str(self.table.id))

    @property
    def twin(self) -> str:
        """The same table without a change log."""
        return f'{names.schema(self.tenant_id)}."twin"'

    def dsn(self, role: str, database: str) -> str:
        """Where `role` finds `database`."""
        return self.cluster.dsn(database, role, self.passwords[role])


@contextlib.contextmanager
def running(rows: int, *, with_twin: bool = True) -> Iterator[Stack]:
    """A stack with `rows` records, stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="planebase-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder) / "postgres", free_port(), settings={"shared_buffers": "1GB"})
        with cluster:
            stack = asyncio.run(_filled(cluster, rows, with_twin=with_twin))
            with _api(stack, Path(folder) / "data-api.log") as pid:
                yield replace(stack, pid=pid)


async def _filled(cluster: Cluster, rows: int, *, with_twin: bool) -> Stack:
    passwords = {role: secrets.token_hex(12) for role in roles.LOGINS}
    await roles.bootstrap(cluster.dsn(), passwords)
    for database, owner in roles.OWNERS.items():
        await migrate.upgrade(database, cluster.dsn(database, owner, passwords[owner]))
    table = TableSpec(id=ids.new(), name="Tasks", fields=tuple(FieldSpec(id=ids.new(), **f) for f in FIELDS))
    made = token.make()
    tenant_id, workspace_id, base_id, first = ids.new(), ids.new(), ids.new(), ids.new()
    record_ids: list[str] = [*ids.batch(first, rows)]
    stack = Stack(
        cluster, passwords, tenant_id, workspace_id, base_id, table, made.secret, free_port(), record_ids
    )
    await _control(stack, made)
    await _data(stack, with_twin=with_twin)
    return stack


async def _control(stack: Stack, made: token.NewToken) -> None:
    conn = await asyncpg.connect(stack.dsn("control_owner", "control"))
    tenant_id, workspace_id, base_id = stack.tenant_id, stack.workspace_id, stack.base_id
    for sql, *args in (
        ("insert into control.clusters (id, host, port, database, region, class) values ('local', '127.0.0.1', $1,"
         " 'data', 'local', 'shared')", stack.cluster.port),
        ("insert into control.tenants (id, slug, name, region, status)"
         " values ($1, 'bench', 'Bench', 'local', 'active')", tenant_id),
        ("insert into gateway.placements (tenant_id, cluster_id, database, schema, region, state, generation)"
         " values ($1, 'local', 'data', $2, 'local', 'active', 1)", tenant_id, names.schema_name(tenant_id)),
        ("insert into control.workspaces (id, tenant_id, name) values ($1, $2, 'W')", workspace_id, tenant_id),
        ("insert into control.bases (id, tenant_id, workspace_id, name) values ($1, $2, $3, 'B')",
         base_id, tenant_id, workspace_id),
        ("insert into control.api_tokens (id, tenant_id, hint, token_hash, scopes) values ($1, $2, $3, $4, $5)",
         ids.new(), tenant_id, made.hint, made.hash, ["records:read", "records:write"]),
    ):  # fmt: skip
        await conn.execute(str(sql), *args)
    await conn.close()


async def _data(stack: Stack, *, with_twin: bool) -> None:
    conn = await asyncpg.connect(stack.dsn("tenants_worker", "data"))
    async with conn.transaction():
        await tenants.create_home(conn, ids.parse(stack.tenant_id), ids.new(), 1)
    await conn.close()
    conn = await asyncpg.connect(stack.dsn("data_owner", "data"))
    await conn.execute("insert into platform.identity (cluster_id) values ('local')")
    tenant_id, workspace_id, base_id = map(ids.parse, (stack.tenant_id, stack.workspace_id, stack.base_id))
    target = Target(tenant_id, workspace_id, base_id, 1, 1)
    bases = names.metadata(stack.tenant_id, "bases")
    async with conn.transaction():
        await conn.execute("set local role tenant_owner")
        await conn.execute(
            f"insert into {bases} (id, workspace_id, name) values ($1, $2, 'B')", base_id, workspace_id
        )
        for statement in DDL["create_table"].up(CreateTable(table=stack.table, pointer=""), target):
            await conn.execute(statement.text, *statement.args)
        if with_twin:
            await _twin(conn, stack)
    fields = stack.table.fields
    columns = ", ".join(f'"f_{f.id}"' for f in fields)
    extracted = ", ".join(f"(v ->> '{f.name}')::{f.kind.cast}" for f in fields)
    tables = [stack.physical, *([stack.twin] if with_twin else [])]
    # What is there before the clock runs needs no history.
    await conn.execute(f"alter table {stack.physical} disable trigger user")
    for start in range(0, len(stack.record_ids), 1000):
        chunk = stack.record_ids[start : start + 1000]
        rows = json.dumps([values(start + n) for n in range(len(chunk))])
        for table in tables:
            await conn.execute(
                f"insert into {table} (id, {columns}) select id, {extracted}"
                " from rows from (jsonb_array_elements($1::text::jsonb), unnest($2::text[])) as e(v, id)",
                rows,
                chunk,
            )
    await conn.execute(f"alter table {stack.physical} enable trigger user")
    await conn.execute(f"vacuum analyze {', '.join(tables)}")
    await conn.close()


async def _twin(conn: asyncpg.Connection, stack: Stack) -> None:
    role = names.role(stack.tenant_id)
    await conn.execute(f"create table {stack.twin} (like {stack.physical} including all)")
    await conn.execute(f"alter table {stack.twin} enable row level security, force row level security")
    policies = await conn.fetch(
        "select policyname, cmd, qual, with_check from pg_policies where schemaname || '.' || tablename = $1",
        stack.physical.replace('"', ""),
    )
    for each in policies:
        using = f" using ({each['qual']})" if each["qual"] else ""
        check = f" with check ({each['with_check']})" if each["with_check"] else ""
        await conn.execute(
            f"create policy {each['policyname']} on {stack.twin} for {each['cmd']} to {role}{using}{check}"
        )
    await conn.execute(f"grant select, insert, update, delete on {stack.twin} to {role}")


@contextlib.contextmanager
def _api(stack: Stack, log: Path) -> Iterator[int]:
    spec = child.Spec(
        name="data-api",
        argv=(sys.executable, "-m", "api.data"),
        log=log,
        env={
            "PLANEBASE_DATA_PORT": str(stack.port),
            "PLANEBASE_CONTROL_DSN": stack.dsn("data_api", "control"),
            "PLANEBASE_ACTIVITY_DSN": stack.dsn("data_api", "activity"),
            "PLANEBASE_DATA_PASSWORD": stack.passwords["data_api"],
            "PLANEBASE_CURSOR_SECRET": "bench",
        },
        stop_timeout_s=30,
    )
    process = child.popen(spec)
    try:
        _wait_for(stack.port, process, log)
        yield process.pid
    finally:
        child.stop(process, spec)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as r,
        ):
            if b"heard" in r.read():
                return
        time.sleep(0.05)
    raise RuntimeError(f"the Data API did not start:\n{log.read_text()[-3000:]}")
