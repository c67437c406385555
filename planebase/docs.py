"""`python -m planebase.docs [--check]`: the OpenAPI of the three APIs and an ERD per database, from what runs."""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from pathlib import Path

import asyncpg

from core.ids import Ulid
from db import migrate, roles
from db.data import tenants
from planebase import docs_apps
from planebase.ports import free_port
from planebase.postgres import Cluster

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "generated"
_TENANT = Ulid("0" * 26)

_COLUMNS = """
select n.nspname || '.' || c.relname as name, a.attname as column,
       coalesce(t.typname, '') as type,
       exists (select from pg_index i
                where i.indrelid = c.oid and i.indisprimary and a.attnum = any (i.indkey)) as pk,
       exists (select from pg_constraint k
                where k.conrelid = c.oid and k.contype = 'f' and a.attnum = any (k.conkey)) as fk,
       exists (select from pg_index i where i.indrelid = c.oid and i.indisunique and not i.indisprimary
                and i.indnkeyatts = 1 and i.indkey[0] = a.attnum) as uk,
       c.relkind = 'p' as partitioned
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_type t on t.oid = a.atttypid
 where c.relkind in ('r', 'p') and not c.relispartition
   and n.nspname not in ('pg_catalog', 'information_schema', 'public')
   and c.relname not like '%\\_late'
 order by n.nspname, c.relname, a.attnum
"""
_REFERENCES = """
select distinct n.nspname || '.' || c.relname as child, fn.nspname || '.' || f.relname as parent
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_class f on f.oid = k.confrelid join pg_namespace fn on fn.oid = f.relnamespace
 where k.contype = 'f' and not c.relispartition order by 1, 2
"""


async def erd(dsn: str, title: str) -> str:
    """Return a Markdown page with a Mermaid diagram of every table that the database holds."""
    conn = await asyncpg.connect(dsn)
    try:
        columns = await conn.fetch(_COLUMNS)
        references = await conn.fetch(_REFERENCES)
    finally:
        await conn.close()
    shown = {row["name"]: _entity(row["name"]) for row in columns}
    partitioned = sorted({row["name"] for row in columns if row["partitioned"]})
    lines = [f"# {title}", "", "Generated from the migrated database by `make docs`; do not edit.", ""]
    if partitioned:
        lines += [f"Partitioned by month: {', '.join(f'`{_public(name)}`' for name in partitioned)}.", ""]
    lines += ["```mermaid", "erDiagram"]
    lines += [f"  {shown[row['parent']]} ||--o{{ {shown[row['child']]} : has" for row in references]
    for name, entity in shown.items():
        lines.append(f"  {entity} {{")
        for row in (row for row in columns if row["name"] == name):
            keys = ",".join(key.upper() for key in ("pk", "fk", "uk") if row[key])
            lines.append(f"    {row['type'].lstrip('_')} {row['column']} {keys}".rstrip())
        lines.append("  }")
    return "\n".join([*lines, "```", ""])


def _public(name: str) -> str:
    return name.replace(f"tenant_{_TENANT}", "tenant_<id>")


def _entity(name: str) -> str:
    return '"' + _public(name).replace("<", "").replace(">", "") + '"'


async def _pages() -> dict[str, str]:
    pages = {
        f"openapi-{name}.json": json.dumps(spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for name, spec in docs_apps.openapi().items()
    }
    with tempfile.TemporaryDirectory(prefix="planebase-docs-") as folder:
        cluster = Cluster(Path(folder) / "postgres", free_port(), settings={"fsync": "off"})
        with cluster:
            passwords = {role: secrets.token_hex(12) for role in roles.LOGINS}
            await roles.bootstrap(cluster.dsn(), passwords)
            for database in roles.DATABASES:
                owner = cluster.dsn(database, roles.OWNERS[database], passwords[roles.OWNERS[database]])
                await migrate.upgrade(database, owner)
                if database == "data":
                    await _example_tenant(cluster.dsn("data", "tenants_worker", passwords["tenants_worker"]))
                pages[f"erd-{database}.md"] = await erd(owner, f"ERD of the {database} database")
    return pages


async def _example_tenant(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        async with conn.transaction():
            await tenants.create_home(conn, _TENANT, _TENANT, generation=1)
    finally:
        await conn.close()


def main() -> int:
    """Write the pages, or with `--check` say which of them are stale (exit 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    pages = asyncio.run(_pages())
    stale = [name for name, text in pages.items() if not _same(TARGET / name, text)]
    if check:
        for name in stale:
            print(f"docs/generated/{name} is stale: run `make docs` and commit it", file=sys.stderr)
        return 1 if stale else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (TARGET / name).write_text(pages[name])
    print(f"{len(pages)} pages in docs/generated, {len(stale)} changed")
    return 0


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
