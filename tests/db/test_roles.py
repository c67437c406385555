"""The matrix of roles and objects, proved with real logins: allowed, or permission denied."""

from itertools import product

import asyncpg
import pytest

from core import ids
from db import roles
from db.data import names, tenants
from tests.conftest import Databases

CONTROL_TABLES = [
    "tenants",
    "workspaces",
    "users",
    "memberships",
    "plans",
    "subscriptions",
    "usage_counters",
    "usage_events",
    "wallets",
    "wallet_ledger",
    "api_tokens",
    "schema_registry",
    "rate_limits",
    "operations",
    "outbox",
    "idempotency",
    "clusters",
    "admins",
    "admin_sessions",
    "refills",
]
READS = {
    "data_api": set[str](),
    "control_api": {
        "tenants", "workspaces", "users", "memberships", "plans", "subscriptions", "usage_counters",
        "usage_events", "wallets", "wallet_ledger", "api_tokens", "schema_registry", "rate_limits", "operations",
        "idempotency", "clusters", "refills",
    },
    "admin_api": {
        "tenants", "workspaces", "users", "memberships", "plans", "subscriptions", "usage_counters", "wallets",
        "wallet_ledger", "schema_registry", "rate_limits", "operations", "idempotency", "clusters", "admins",
        "admin_sessions", "refills",
    },
}  # fmt: skip
CONNECTS = {role.name: set(role.databases) for role in roles.ROLES if role.login}
TENANT_DDL = (
    "create schema evil",
    "create table platform.evil (a int)",
    "create temp table evil (a int)",
    "create function platform.evil() returns int language sql as 'select 1'",
    "alter table platform.changes add column evil text",
    "create role evil",
    "set role tenant_owner",
    "set role tenant_reader",
)
APIS = ("data_api", "control_api", "admin_api")
_ONE, _TWO = "(bigint)", "(int, int)"
LOCKS = {
    ("control", "control_owner"): {f"pg_advisory_xact_lock{_ONE}", f"pg_try_advisory_xact_lock{_ONE}"},
    ("control", "maintenance_worker"): {f"pg_try_advisory_lock{_TWO}"},
    ("data", "data_owner"): {
        f"pg_advisory_xact_lock{_ONE}", f"pg_advisory_xact_lock_shared{_ONE}", f"pg_try_advisory_xact_lock{_ONE}",
    },
    ("data", "tenants_worker"): {f"pg_advisory_xact_lock{_TWO}"},
    ("data", "schema_worker"): {f"pg_try_advisory_lock{_ONE}"},
    ("data", "maintenance_worker"): {f"pg_try_advisory_lock{_TWO}"},
}  # fmt: skip
LOCKING = [
    f"pg_{attempt}advisory_{until}lock{shared}{keys}"
    for attempt, until, shared, keys in product(("", "try_"), ("", "xact_"), ("", "_shared"), (_ONE, _TWO))
]
BEYOND_AN_API = (
    "select lo_creat(-1)",
    "select lo_create(0)",
    "select lo_from_bytea(0, 'x')",
    "select lo_put(1, 0, 'x')",
    "select lo_get(1)",
    "select lo_open(1, 131072)",
    "select lowrite(0, 'x')",
    "select lo_unlink(1)",
    "select lo_import('/etc/passwd')",
    "select lo_export(1, '/tmp/x')",
    "select pg_logical_emit_message(false, 'x', 'x')",
    "select pg_create_logical_replication_slot('x', 'pgoutput')",
    "select pg_terminate_backend(pg_backend_pid())",
    "select pg_cancel_backend(pg_backend_pid())",
    "select pg_read_file('PG_VERSION')",
    "select pg_ls_dir('.')",
    "select pg_reload_conf()",
    "select pg_switch_wal()",
    "select rolpassword from pg_authid",
    "select data from pg_largeobject",
    "copy (select 1) to program 'true'",
    "copy (select 1) to '/tmp/x'",
    "create temp table x (a int)",
    "create table public.x (a int)",
    "create schema x",
    "create publication x",
    "create database x",
    "create role x",
    "alter system set work_mem = '1GB'",
    "set temp_file_limit = -1",
    "set log_min_messages = 'debug5'",
    "set session_replication_role = 'replica'",
)


@pytest.mark.parametrize("role", sorted(CONNECTS))
@pytest.mark.parametrize("database", roles.DATABASES)
async def test_a_role_connects_to_its_databases_only(databases: Databases, role: str, database: str) -> None:
    if database in CONNECTS[role]:
        async with databases.connect(role, database) as conn:
            assert await conn.fetchval("select current_user") == role
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with databases.connect(role, database):
                pass


@pytest.mark.parametrize("role", sorted(READS))
@pytest.mark.parametrize("table", CONTROL_TABLES)
async def test_who_reads_what_of_the_control_plane(databases: Databases, role: str, table: str) -> None:
    async with databases.connect(role, "control") as conn:
        if table in READS[role]:
            await conn.fetch(f"select * from control.{table} limit 1")
        else:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.fetch(f"select * from control.{table} limit 1")


@pytest.mark.parametrize("role", ["data_api", "control_api", "admin_api", "metering_worker", "notify_worker"])
async def test_nobody_sets_a_balance_but_the_ledger(databases: Databases, role: str) -> None:
    async with databases.connect(role, "control") as conn:
        for statement in (
            "update control.wallets set balance_cents = 1",
            "delete from control.wallet_ledger",
            "update control.wallet_ledger set amount_cents = 1",
            "truncate control.wallet_ledger",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(statement)


@pytest.mark.parametrize("statement", TENANT_DDL)
async def test_the_public_role_makes_nothing_and_becomes_nobody_else(
    databases: Databases, statement: str
) -> None:
    async with databases.connect("data_api", "data") as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(statement)


@pytest.mark.parametrize(
    "table", ["changes", "fences", "idempotency", "identity", "schema_steps", "relay_cursors"]
)
async def test_the_public_role_touches_no_platform_table(databases: Databases, table: str) -> None:
    async with databases.connect("data_api", "data") as conn:
        for statement in (f"select 1 from platform.{table}", f"delete from platform.{table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.fetch(statement)


@pytest.mark.parametrize("database", roles.DATABASES)
async def test_a_role_takes_the_locks_that_its_work_needs(databases: Databases, database: str) -> None:
    for role in (name for name, reachable in CONNECTS.items() if database in reachable):
        async with databases.connect(role, database) as conn:
            taken = {function for function in LOCKING if await _may(conn, _call(function))}
        assert taken == LOCKS.get((database, role), set()), role


async def test_a_tenants_role_takes_no_lock(databases: Databases) -> None:
    tenant = ids.new()
    async with databases.connect("tenants_worker", "data") as conn, conn.transaction():
        await tenants.create_home(conn, tenant, ids.new(), 1)
    async with databases.connect("data_api", "data") as conn:
        await conn.execute(f"set role {names.role(tenant)}")
        assert [function for function in LOCKING if await _may(conn, _call(function))] == []


@pytest.mark.parametrize("role", APIS)
async def test_an_api_stays_in_its_transactions_its_session_and_its_share(
    databases: Databases, role: str
) -> None:
    for database in CONNECTS[role]:
        async with databases.connect(role, database) as conn:
            allowed = [statement for statement in BEYOND_AN_API if await _may(conn, statement)]
            assert allowed == []
            assert await conn.fetchval("show temp_file_limit") == "1GB"
            extensions = await conn.fetch("select extname from pg_extension")
            assert [row[0] for row in extensions] == ["plpgsql"]


async def test_an_api_sees_no_other_roles_queries(databases: Databases) -> None:
    async with databases.own("data") as busy, databases.connect("data_api", "data") as conn:
        await busy.execute("select 'PATIENT-4711'")
        seen = await conn.fetchval("select query from pg_stat_activity where pid = $1", busy.get_server_pid())
    assert seen == "<insufficient privilege>"


@pytest.mark.parametrize("role", sorted(CONNECTS))
@pytest.mark.parametrize("database", ["postgres", "template1"])
async def test_no_role_connects_to_the_servers_own_databases(
    databases: Databases, role: str, database: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with databases.connect(role, database):
            pass


async def test_no_login_role_has_a_superpower_but_those_that_are_listed(databases: Databases) -> None:
    allowed = {("data_owner", "bypassrls"), ("tenants_worker", "createrole")}
    async with databases.own("control") as conn:
        rows = await conn.fetch(
            "select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles"
            " where rolname = any($1::text[])",
            list(roles.LOGINS),
        )
    powers = {
        (row["rolname"], name.removeprefix("rol"))
        for row in rows
        for name in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication")
        if row[name]
    }
    assert powers == allowed


async def test_logins_but_owners_have_no_search_path(databases: Databases) -> None:
    for role, reachable in CONNECTS.items():
        async with databases.connect(role, sorted(reachable)[0]) as conn:
            path = await conn.fetchval("show search_path")
            assert (path in ("", '""')) != role.endswith("_owner"), f"{role}: {path!r}"


async def test_no_function_is_everybodys(databases: Databases) -> None:
    for database in roles.DATABASES:
        async with databases.own(database) as conn:
            open_to_all = await conn.fetch(
                "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
                " where n.nspname not in ('pg_catalog', 'information_schema')"
                " and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
                "             where a.grantee = 0)"
            )
            assert [row[0] for row in open_to_all] == []


DEFINERS = {
    "control": {"gateway.add_usage", "gateway.authenticate", "gateway.limits", "gateway.touch_tokens",
                "control.check_balance", "control.lock_key", "control.post_ledger"},
    "data": {"platform.drop_partition", "platform.ensure_partitions", "platform.enter", "platform.enter_to_write",
             "platform.enter_together", "platform.log_create", "platform.log_delete", "platform.log_update",
             "platform.remember", "platform.remember_together"},
    "audit": {"audit.add_admin_events", "audit.add_security_events", "audit.ensure_partitions"},
    "activity": {"activity.add_access_logs", "activity.add_resource_events", "activity.ensure_partitions"},
    "alarms": set[str](),
}  # fmt: skip


@pytest.mark.parametrize("database", roles.DATABASES)
async def test_functions_with_their_owners_rights_are_few_and_named(
    databases: Databases, database: str
) -> None:
    async with databases.own(database) as conn:
        rows = await conn.fetch(
            "select n.nspname || '.' || p.proname, p.proconfig from pg_proc p join pg_namespace n"
            " on n.oid = p.pronamespace where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')"
        )
    assert {row[0] for row in rows} == DEFINERS[database]
    for name, settings in rows:
        assert any(s.startswith("search_path=") for s in settings or ()), (
            f"{name} leaves search_path to its caller"
        )


async def _may(conn: asyncpg.Connection, statement: str) -> bool:
    try:
        await conn.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


def _call(locking: str) -> str:
    return f"select {locking.partition('(')[0]}({'4711' if locking.endswith(_ONE) else '47, 11'})"


async def test_what_a_statement_carried_is_in_no_log(databases: Databases) -> None:
    secret = "PATIENT-4711"
    async with databases.connect("data_api", "data") as conn:
        with pytest.raises(asyncpg.PostgresError):
            await conn.fetch("select platform.read($1, 'w b editor', 1, 1, null, 'x', '{}', '{}')", secret)
    async with databases.connect("control_api", "control") as conn:
        with pytest.raises(asyncpg.PostgresError):
            await conn.execute(
                f"insert into control.users (id, email, name) values ('{secret}', 'a@b.c', 'n')"
            )
    assert secret not in databases.cluster.log.read_text()
