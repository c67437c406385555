"""The database roles, as data: who exists, where each may connect, and what it can never do."""

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
    """One role: its attributes, the databases it may connect to, and the roles it may become."""

    name: str
    databases: tuple[str, ...] = ()
    login: bool = True
    attributes: str = ""
    member_of: tuple[tuple[str, str], ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


_BECOME = "with inherit false, set true"
# transaction_timeout ends the session, statement_timeout only the statement: the latter is shorter.
_API = {"statement_timeout": "8s", "transaction_timeout": "12s", "idle_in_transaction_session_timeout": "10s"}
_WORKER = {"statement_timeout": "60s", "idle_in_transaction_session_timeout": "60s"}

ROLES: tuple[Role, ...] = (
    Role("tenant_owner", login=False, attributes="bypassrls"),
    Role("tenant_reader", login=False, attributes="bypassrls"),
    Role("tenant_members", login=False),
    Role("changes_writer", login=False, attributes="bypassrls"),
    Role("changes_purger", login=False),
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
        settings={**_API, "log_min_messages": "fatal"},
    ),
    Role("control_api", ("control", "activity", "alarms"), settings=_API),
    Role("admin_api", ("control", "audit"), settings=_API),
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

# A statement's values are tenants' data: they are in no log, whether it failed or was slow.
_FIXED = {
    "timezone": "UTC",
    "search_path": "",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


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
    finally:
        await conn.close()
    for database in databases:
        await _lock_down(admin_dsn, database)


async def _make_roles(conn: asyncpg.Connection, passwords: Mapping[str, str]) -> None:
    known = {row["rolname"] for row in await conn.fetch("select rolname from pg_roles")}
    for role in ROLES:
        name = _ident(role.name)
        if role.name not in known:
            await conn.execute(f"create role {name}")
        login = "login" if role.login else "nologin"
        inherit = "" if "noinherit" in role.attributes else "inherit"
        await conn.execute(
            f"alter role {name} nosuperuser nocreatedb nocreaterole nobypassrls noreplication"
            f" {login} {inherit} {role.attributes}".replace(
                "nocreaterole", "" if "createrole" in role.attributes else "nocreaterole"
            ).replace("nobypassrls", "" if "bypassrls" in role.attributes else "nobypassrls")
        )
        if role.login:
            await conn.execute(f"alter role {name} password {await _literal(conn, passwords[role.name])}")
        for setting, value in {**_FIXED, **role.settings}.items():
            # A search_path is a list: quoting it whole would name one schema with a comma in it.
            text = value if setting == "search_path" and value else await _literal(conn, value)
            await conn.execute(f"alter role {name} set {setting} = {text}")
    for role in ROLES:
        for group, options in role.member_of:
            await conn.execute(f"grant {_ident(group)} to {_ident(role.name)} {options}")


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


async def _lock_down(admin_dsn: str, database: str) -> None:
    conn = await asyncpg.connect(admin_dsn, database=database)
    try:
        await conn.execute("revoke all on schema public from public")
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
