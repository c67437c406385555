"""What there is of a tenant, in all databases: two equal worlds are the same to everybody."""

from typing import Any

from core.ids import Ulid
from tests.conftest import Databases
from tests.seeds import rows

_CONTROL = {
    "tenant": "select status, status_reason from control.tenants where id = $1",
    "placement": "select cluster_id, schema, state, generation from gateway.placements where tenant_id = $1",
    "wallet": "select id, balance_cents from control.wallets where tenant_id = $1",
    "subscription": "select id, plan_id, status from control.subscriptions where tenant_id = $1",
    "limits": 'select id, "window", api_limit, runs_limit from control.rate_limits where tenant_id = $1 order by 1',
    "workspaces": "select id, name from control.workspaces where tenant_id = $1",
    "members": "select m.id, m.user_id, m.role from control.memberships m join control.workspaces w"
    " on w.id = m.workspace_id where w.tenant_id = $1 order by 1",
    "outbox": "select id, payload ->> 'action' as action, payload ->> 'operation_id' as operation_id"
    " from control.outbox where payload ->> 'tenant_id' = $1 order by 1",
    "registry": "select version, state, ddl_hash, operation_id from control.schema_registry"
    " where tenant_id = $1 order by base_id, version",
}
_DATA = {
    "role": "select rolname, rolcanlogin, rolbypassrls from pg_roles where rolname = 'tenant_' || $1",
    "grants": "select m.roleid::regrole::text as role, m.member::regrole::text as member, m.inherit_option,"
    " m.set_option from pg_auth_members m where 'tenant_' || $1 in"
    " (m.roleid::regrole::text, m.member::regrole::text) order by 1, 2, 4",
    "fence": "select generation, state from platform.fences where tenant_id = $1",
    "relations": "select c.relname, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity,"
    " pg_get_userbyid(c.relowner) as owner from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = 'tenant_' || $1 order by 1",
    "columns": "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull"
    " from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = 'tenant_' || $1 and c.relname like 't\\_%' and c.relkind = 'r' and a.attnum > 0"
    " and not a.attisdropped order by 1, 2",
    "policies": "select tablename, policyname, cmd from pg_policies where schemaname = 'tenant_' || $1 order by 1, 2",
    "ledger": "select operation_id, step, kind, state from platform.schema_steps where tenant_id = $1 order by 1, 2",
}
_METADATA = {
    "bases": "id, workspace_id, name, status, schema_version",
    "tables": "id, base_id, name, schema_version, position",
    "fields": "id, table_id, name, type, options_json, is_required, is_unique, position",
    "views": "id, table_id, name, kind",
}


async def world(databases: Databases, tenant_id: Ulid) -> dict[str, list[dict[str, Any]]]:
    """Return all that the databases hold of a tenant, but for times."""
    found = {name: await rows(databases, "control", sql, tenant_id) for name, sql in _CONTROL.items()}
    found |= {name: await rows(databases, "data", sql, tenant_id) for name, sql in _DATA.items()}
    if found["relations"]:
        for table, columns in _METADATA.items():
            sql = f'select {columns} from "tenant_{tenant_id}".{table} order by id'
            found[f"its {table}"] = await rows(databases, "data", sql)
    return found


HOME = ("placement", "wallet", "subscription", "limits", "workspaces", "members", "outbox",
        "role", "grants", "fence", "relations", "policies")  # fmt: skip
"""What a tenant has when it is there, and nothing of it when it is not."""
