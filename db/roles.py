"""The database roles, as data: who exists, where each may connect, and what it can never do."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

DATABASES = ("control", "data", "audit", "activity", "alarms")
OWNERS = {database: f"{database}_owner" for database in DATABASES}
SCHEMAS = {
    "control": "control, gateway",
    "data": "platform",
    "audit": "audit",
    "activity": "activity",
    "alarms": "alarms",
}


@dataclass(frozen=True)
class Role:
    """One role: its attributes, the databases it may connect to, and the roles it may become.

    Of a server's connections it holds at most `connection_share`, so that one who has its login leaves some to others.
    """

    name: str
    databases: tuple[str, ...] = ()
    login: bool = True
    attributes: str = ""
    member_of: tuple[tuple[str, str], ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    connection_share: float = 1.0


_BECOME = "with inherit false, set true"
# transaction_timeout ends the session, statement_timeout only the statement: the latter is shorter.
_API = {
    "statement_timeout": "8s",
    "transaction_timeout": "12s",
    "idle_in_transaction_session_timeout": "10s",
    # Unlike the timeouts, a session cannot raise this one: no query of its own fills the disk.
    "temp_file_limit": "1GB",
}
_API_SHARE = 0.5
# The public API keeps plans for as long as a session lives, and a table may be tiny when its plan is made: a plan that
# reads the whole of it would be kept while it grows. What is planned for one call may read whole tables again.
_KEPT_PLANS = {"enable_seqscan": "off", "jit": "off", "plan_cache_mode": "force_generic_plan"}
_WORKER = {"statement_timeout": "60s", "idle_in_transaction_session_timeout": "60s"}

ROLES: tuple[Role, ...] = (
    Role("tenant_owner", login=False, attributes="bypassrls"),
    Role("tenant_reader", login=False, attributes="bypassrls"),
    Role("tenant_members", login=False),
    Role("changes_writer", login=False, attributes="bypassrls"),
    Role("activity_purger", login=False),
    *(
        Role(OWNERS[database], (database,), settings={"search_path": SCHEMAS[database]})
        for database in DATABASES
        if database != "data"
    ),
    Role(
        "data_owner",
        ("data",),
        attributes="bypassrls",
        member_of=(
            ("tenant_owner", "with inherit true, set true"),
            ("tenant_reader", "with inherit true, set true"),
            ("changes_writer", "with inherit true, set true"),
        ),
        settings={"search_path": SCHEMAS["data"]},
    ),
    # Its refusals are answers (404, 412, 422), which the API's own log counts; the server's log keeps what is fatal.
    Role(
        "data_api",
        ("control", "data", "activity"),
        attributes="noinherit",
        settings={**_API, **_KEPT_PLANS, "log_min_messages": "fatal"},
        connection_share=_API_SHARE,
    ),
    Role("control_api", ("control", "activity", "alarms"), settings=_API, connection_share=_API_SHARE),
    Role("admin_api", ("control", "audit"), settings=_API, connection_share=_API_SHARE),
    Role("schema_worker", ("control", "data"), member_of=(("tenant_owner", _BECOME),), settings=_WORKER),
    Role(
        "tenants_worker",
        ("control", "data"),
        attributes="createrole",
        member_of=(
            ("tenant_owner", _BECOME),
            ("tenant_members", "with admin true, inherit false, set false"),
        ),
        settings=_WORKER,
    ),
    Role(
        "metering_worker",
        ("control", "data", "alarms"),
        member_of=(("tenant_reader", _BECOME),),
        settings=_WORKER,
    ),
    Role("billing_worker", ("control", "alarms"), settings=_WORKER),
    Role("notify_worker", ("control", "alarms"), settings=_WORKER),
    Role("maintenance_worker", ("control", "data", "activity", "audit", "alarms"), settings=_WORKER),
)
LOGINS: tuple[str, ...] = tuple(role.name for role in ROLES if role.login)

# PostgreSQL lets everybody take any advisory lock, make large objects, write into the WAL, and end the sessions of
# his own role: with that, a login of an API could stop the workers, fill the disk or end that API's calls.
# Giving back one's own locks stays everybody's: asyncpg's pools do it at every release.
WITHHELD = (
    "^(pg_(try_)?advisory_(xact_)?lock|lo_|loread$|lowrite$|pg_logical_emit_message$"
    "|pg_(cancel|terminate)_backend$)"
)
# Who takes advisory locks. No API does by itself: what it needs is locked in functions of the owners, by one bigint
# made of the tenant or the key. The workers' own locks have two ints, and no bigint is one of those.
LOCKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "control": {
        "control_owner": ("pg_advisory_xact_lock(bigint)", "pg_try_advisory_xact_lock(bigint)"),
        "maintenance_worker": ("pg_try_advisory_lock(int, int)",),
    },
    "data": {
        "data_owner": ("pg_advisory_xact_lock_shared(bigint)", "pg_try_advisory_xact_lock(bigint)"),
        "tenant_owner": ("pg_advisory_xact_lock(bigint)", "pg_advisory_xact_lock_shared(bigint)"),
        "schema_worker": ("pg_try_advisory_lock(bigint)",),
        "tenants_worker": ("pg_advisory_xact_lock(int, int)",),
        "maintenance_worker": ("pg_try_advisory_lock(int, int)",),
    },
}

# A statement's values are tenants' data: they are in no log, whether it failed or was slow.
_FIXED = {
    "TimeZone": "UTC",
    "search_path": "",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
_NO_SCHEMA = '""'


async def bootstrap(
    admin_dsn: str, passwords: Mapping[str, str], databases: Sequence[str] = DATABASES
) -> None:
    """Make the roles and databases of one server or bring them up to date; changes no data.

    `admin_dsn` is a superuser's, of the server's `postgres` database; a server may hold any of the five `databases`.
    """
    conn = await asyncpg.connect(admin_dsn)
    try:
        await _make_roles(conn, passwords)
        for database in databases:
            await _make_database(conn, database)
        await _close_server_databases(conn)
    finally:
        await conn.close()
    for database in databases:
        await _lock_down(admin_dsn, database)


async def altered(admin_dsn: str, passwords: Mapping[str, str]) -> list[str]:
    """Name the logins that do not work, or with other settings than `bootstrap` gives: a role may change its own."""
    logins = [role for role in ROLES if role.login]
    able = await asyncio.gather(*(_can_login(admin_dsn, role, passwords[role.name]) for role in logins))
    conn = await asyncpg.connect(admin_dsn)
    try:
        rows = await conn.fetch(_SETTINGS, list(LOGINS))
    finally:
        await conn.close()
    stored = {
        role: [(row["database"], row["settings"]) for row in rows if row["role"] == role] for role in LOGINS
    }
    return [
        role.name
        for role, is_able in zip(logins, able, strict=True)
        if not is_able or stored[role.name] != [(None, _as_stored(role))]
    ]


async def _can_login(admin_dsn: str, role: Role, password: str) -> bool:
    try:
        conn = await asyncpg.connect(admin_dsn, user=role.name, password=password, database=role.databases[0])
    except asyncpg.PostgresError:
        return False
    await conn.close()
    return True


_SETTINGS = """
select r.rolname::text as role, quote_ident(d.datname) as database,
       (select array_agg(c order by c collate "C") from unnest(s.setconfig) c) as settings
  from pg_db_role_setting s join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase
 where r.rolname = any ($1::text[])
"""


def _as_stored(role: Role) -> list[str]:
    return sorted(f"{name}={value or _NO_SCHEMA}" for name, value in {**_FIXED, **role.settings}.items())


async def _make_roles(conn: asyncpg.Connection, passwords: Mapping[str, str]) -> None:
    known = {row["rolname"] for row in await conn.fetch("select rolname from pg_roles")}
    limit = int(await conn.fetchval("show max_connections"))
    for role in ROLES:
        if role.name not in known:
            await conn.execute(f"create role {_ident(role.name)}")
        # In one transaction: who logs in meanwhile has the settings of before or those of now.
        async with conn.transaction():
            await _make_role(conn, role, passwords, limit)
    for role in ROLES:
        for group, options in role.member_of:
            await conn.execute(f"grant {_ident(group)} to {_ident(role.name)} {options}")


async def _make_role(
    conn: asyncpg.Connection, role: Role, passwords: Mapping[str, str], max_connections: int
) -> None:
    name = _ident(role.name)
    login = "login" if role.login else "nologin"
    inherit = "" if "noinherit" in role.attributes else "inherit"
    limit = int(max_connections * role.connection_share) if role.connection_share < 1 else -1
    await conn.execute(
        f"alter role {name} nosuperuser nocreatedb nocreaterole nobypassrls noreplication"
        f" connection limit {limit} {login} {inherit} {role.attributes}".replace(
            "nocreaterole", "" if "createrole" in role.attributes else "nocreaterole"
        ).replace("nobypassrls", "" if "bypassrls" in role.attributes else "nobypassrls")
    )
    if role.login:
        await conn.execute(f"alter role {name} password {await _literal(conn, passwords[role.name])}")
    await conn.execute(f"alter role {name} reset all")
    for row in await conn.fetch(_SETTINGS, [role.name]):
        await conn.execute(f"alter role {name} in database {row['database']} reset all")
    for setting, value in {**_FIXED, **role.settings}.items():
        # A search_path is a list: quoting it whole would name one schema with a comma in it.
        text = value if setting == "search_path" and value else await _literal(conn, value)
        await conn.execute(f"alter role {name} set {setting} = {text}")


async def _make_database(conn: asyncpg.Connection, database: str) -> None:
    owner = _ident(OWNERS[database])
    if not await conn.fetchval("select 1 from pg_database where datname = $1", database):
        await conn.execute(
            f"create database {_ident(database)} owner {owner} template template0 encoding 'UTF8'"
        )
    await conn.execute(f"revoke all on database {_ident(database)} from public")
    for role in ROLES:
        if role.login and database in role.databases:
            await conn.execute(f"grant connect on database {_ident(database)} to {_ident(role.name)}")
    if database == "data":
        await conn.execute(f"grant create on database {_ident(database)} to tenant_owner")


async def _close_server_databases(conn: asyncpg.Connection) -> None:
    # Everybody may connect to these unless told otherwise. Where they are another's, they are his to close.
    rows = await conn.fetch(
        "select datname from pg_database where datname in ('postgres', 'template1') and pg_has_role(datdba, 'usage')"
    )
    for row in rows:
        await conn.execute(f"revoke all on database {_ident(row['datname'])} from public")


async def _lock_down(admin_dsn: str, database: str) -> None:
    conn = await asyncpg.connect(admin_dsn, database=database)
    try:
        await conn.execute("revoke all on schema public from public")
        withheld = await conn.fetchval(
            "select string_agg(oid::regprocedure::text, ', ') from pg_proc"
            " where pronamespace = 'pg_catalog'::regnamespace and proname ~ $1",
            WITHHELD,
        )
        await conn.execute(f"revoke execute on function {withheld} from public")
        for role, functions in LOCKS.get(database, {}).items():
            await conn.execute(f"grant execute on function {', '.join(functions)} to {_ident(role)}")
        # A new function is everybody's unless its owner's defaults say otherwise.
        for role in (OWNERS[database], "tenant_owner"):
            await conn.execute(
                f"alter default privileges for role {_ident(role)} revoke execute on functions from public"
            )
    finally:
        await conn.close()


def _ident(name: str) -> str:
    if not name.replace("_", "").isalnum() or not name.islower():
        raise ValueError(f"not a role or database name: {name!r}")
    return f'"{name}"'


async def _literal(conn: asyncpg.Connection, value: str) -> str:
    return str(await conn.fetchval("select quote_literal($1::text)", value))
