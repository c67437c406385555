"""Roles, databases and migrations of a stack's PostgreSQL, skipped when nothing about them has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from db import roles
from planebase import files
from planebase.paths import ROOT
from planebase.ports import HOST
from planebase.postgres import Cluster
from planebase.state import DataDir
from planebase.supervisor import Say


async def prepare(data_dir: DataDir, cluster: Cluster, secrets: Mapping[str, Any], say: Say) -> None:
    """Bring `cluster` to what the code in db/ says; repeating it changes nothing and costs milliseconds."""
    stamp_file = data_dir.path / "prepared.json"
    stamp = _stamp(cluster, secrets)
    if files.read_json(stamp_file).get("stamp") == stamp:
        # The stamp tells what we did, not what roles did to themselves since.
        altered = await roles.altered(cluster.dsn(), secrets["passwords"])
        if not altered:
            return
        say(f"Not as they were set up, by login or by settings, and so set up again: {', '.join(altered)}")
    from db import deploy  # late: the usual start needs none of SQLAlchemy

    say("Setting up the databases: roles, then the migrations of " + ", ".join(roles.DATABASES))
    await deploy.deploy(
        dict.fromkeys(roles.DATABASES, cluster.dsn()),
        secrets["passwords"],
        deploy.HomeCluster("local", HOST, cluster.port, "local"),
        deploy.FirstAdmin(**secrets["admin"], secret_key=secrets["secret_key"]),
    )
    files.write_json(stamp_file, {"stamp": stamp})


def _stamp(cluster: Cluster, secrets: Mapping[str, Any]) -> str:
    """A digest of all that `prepare` depends on: code, credentials, port, and which cluster it is."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    for value in (secrets["passwords"], secrets["admin"], secrets["secret_key"], cluster.port):
        digest.update(repr(value).encode())
    digest.update((cluster.pgdata / "global" / "pg_control").read_bytes()[:8])  # its system identifier
    return digest.hexdigest()


def _sources() -> list[Path]:
    db = ROOT / "db"
    code = (
        db / "deploy.py",
        db / "roles.py",
        db / "migrate.py",
        db / "control/admins.py",
        db / "control/placements.py",
    )
    return sorted({*code, *db.glob("*/migrations/**/*.py"), *db.glob("**/*.sql")})
