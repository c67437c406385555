"""`python -m db.deploy`: roles, databases, migrations, first cluster and first admin, on any servers."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from core.settings import DeploySettings
from db import migrate, roles
from db.control import admins, placements


@dataclass(frozen=True)
class HomeCluster:
    """The data cluster that a new installation begins with, as the other processes reach it."""

    id: str
    host: str
    port: int
    region: str


@dataclass(frozen=True)
class FirstAdmin:
    """The operator who can log in first; `secret_key` (Fernet) seals the TOTP secret."""

    email: str
    password: str
    totp_secret: str
    secret_key: str


async def deploy(
    servers: Mapping[str, str], passwords: Mapping[str, str], home: HomeCluster, admin: FirstAdmin
) -> None:
    """Bring every database to what this code expects; repeating it changes nothing.

    `servers` maps each database to a superuser's DSN of the server that holds it; several may share one.
    """
    for dsn in dict.fromkeys(servers.values()):
        await roles.bootstrap(dsn, passwords, [name for name, server in servers.items() if server == dsn])
    owners = {name: _as_owner(servers[name], name, passwords) for name in servers}
    for name in roles.DATABASES:
        await migrate.upgrade(name, owners[name])
    await placements.ensure_cluster(
        owners["control"],
        id=home.id,
        host=home.host,
        port=home.port,
        database="data",
        region=home.region,
        class_="shared",
    )
    await _name_cluster(owners["data"], home.id)
    await admins.ensure_first(
        owners["control"], admin.email, admin.password, admin.totp_secret, admin.secret_key
    )


def _as_owner(server: str, database: str, passwords: Mapping[str, str]) -> str:
    parts = urlsplit(server)
    owner = roles.OWNERS[database]
    place = f"{parts.hostname}:{parts.port or 5432}"
    return urlunsplit(("postgresql", f"{owner}:{quote(passwords[owner])}@{place}", f"/{database}", "", ""))


async def _name_cluster(owner_dsn: str, cluster_id: str) -> None:
    conn = await asyncpg.connect(owner_dsn)
    try:
        held = await conn.fetchval(
            "insert into platform.identity (cluster_id) values ($1)"
            " on conflict (one) do update set cluster_id = platform.identity.cluster_id returning cluster_id",
            cluster_id,
        )
    finally:
        await conn.close()
    if held != cluster_id:
        # Changes and cursors carry the name: another one would make the relay skip or repeat.
        raise RuntimeError(f"this data cluster is called {held!r} already, not {cluster_id!r}")


def main() -> None:
    """Deploy what the environment describes."""
    settings = DeploySettings()
    servers = {name: getattr(settings, f"{name}_admin_dsn").get_secret_value() for name in roles.DATABASES}
    passwords = {name: value.get_secret_value() for name, value in settings.role_passwords.items()}
    missing = sorted(set(roles.LOGINS) - set(passwords))
    if missing:
        raise SystemExit(f"PLANEBASE_ROLE_PASSWORDS lacks a password for: {', '.join(missing)}")
    asyncio.run(
        deploy(
            servers,
            passwords,
            HomeCluster(
                settings.cluster_id, settings.cluster_host, settings.cluster_port, settings.cluster_region
            ),
            FirstAdmin(
                settings.admin_email,
                settings.admin_password.get_secret_value(),
                settings.admin_totp_secret.get_secret_value(),
                settings.secret_key.get_secret_value(),
            ),
        )
    )


if __name__ == "__main__":
    main()
