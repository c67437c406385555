"""What one stack keeps in its data folder: its secrets, where it runs, and what the demo made."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planebase import files
from planebase.paths import ROOT
from planebase.ports import HOST

DEFAULT_PORT_BASE = 8100


@dataclass(frozen=True)
class Ports:
    """The ports of one stack, all counted from one number."""

    base: int

    @property
    def all(self) -> dict[str, int]:
        """Every port by what listens on it."""
        return {
            "data API": self.data,
            "control API": self.control,
            "admin API": self.admin,
            "PostgreSQL": self.postgres,
            "Temporal": self.temporal,
            "Temporal UI": self.temporal_ui,
            "sandbox (HTTP)": self.sandbox,
            "sandbox (SMTP)": self.smtp,
        }

    @property
    def data(self) -> int:
        return self.base

    @property
    def control(self) -> int:
        return self.base + 1

    @property
    def admin(self) -> int:
        return self.base + 2

    @property
    def postgres(self) -> int:
        return self.base + 10

    @property
    def temporal(self) -> int:
        return self.base + 20

    @property
    def temporal_ui(self) -> int:
        return self.base + 21

    @property
    def sandbox(self) -> int:
        return self.base + 30

    @property
    def smtp(self) -> int:
        return self.base + 31


class DataDir:
    """One stack's folder. Whoever holds its lock is the stack; only its owner can read its secrets."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = (path or ROOT / ".planebase").resolve()
        self._lock = files.Lock(self.path / "stack.lock")

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def sandbox(self) -> Path:
        return self.path / "sandbox"

    @property
    def mails(self) -> Path:
        """What the sandbox's mail receiver keeps."""
        return self.sandbox / "mails"

    def log(self, name: str) -> Path:
        """The log of one child."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the folder so that PostgreSQL's user can pass through it; an existing one is left alone."""
        if not self.path.is_dir():
            self.path.mkdir(parents=True)
            self.path.chmod(0o755 if os.geteuid() == 0 else 0o700)

    def is_running(self) -> bool:
        """Whether a stack runs (or is starting) in this folder now."""
        return files.is_locked(self._lock.path)

    def stack(self) -> dict[str, Any]:
        """Where the stack runs, as it last said."""
        return files.read_json(self.path / "stack.json")

    def save_stack(self, value: dict[str, Any]) -> None:
        """Keep where the stack runs."""
        files.write_json(self.path / "stack.json", value)

    def demo(self) -> dict[str, Any]:
        """The tenant, base, table and token that the last demo made; empty before the first."""
        return files.read_json(self.path / "demo.json")

    def save_demo(self, value: dict[str, Any]) -> None:
        """Keep what `status --json` shows under `demo`."""
        files.write_json(self.path / "demo.json", value)

    def claim(self, port_base: int, *, for_demo: bool = False) -> bool:
        """Become the stack of this folder, until this process ends; False when there is one already."""
        if not self._lock.acquire(timeout_s=0.5):
            return False
        mine = {"pid": os.getpid(), "port_base": port_base, "for_demo": for_demo}
        self.save_stack({**self.stack(), **mine, "ready": False, "stopping": False})
        return True

    def secrets(self) -> dict[str, Any]:
        """This stack's secrets, as `complete_secrets` made them."""
        return files.read_json(self.path / "secrets.json")

    def complete_secrets(self, logins: tuple[str, ...]) -> dict[str, Any]:
        """This stack's secrets; those that are not there yet (of a new role, say) are made and kept."""
        known = self.secrets()
        wanted: dict[str, Any] = {
            "portal_token": f"portal_{secrets.token_urlsafe(32)}",
            "cursor_secret": secrets.token_urlsafe(32),
            "secret_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),  # a Fernet key
            "payments_key": f"sandbox_{secrets.token_urlsafe(24)}",
            "admin": {
                "email": "admin@example.com",
                "password": secrets.token_urlsafe(18),
                "totp_secret": base64.b32encode(secrets.token_bytes(20)).decode(),
            },
        }
        passwords = {login: secrets.token_urlsafe(24) for login in logins} | known.get("passwords", {})
        complete = {**wanted, **known, "passwords": passwords}
        if complete != known:
            files.write_json(self.path / "secrets.json", complete)
        return complete


def status(data_dir: DataDir) -> dict[str, Any]:
    """The answer of `planebase status --json`: addresses and credentials of the stack in `data_dir`."""
    from db.roles import OWNERS, ROLES  # late: only the status of a stack needs the roles

    stack, secret = data_dir.stack(), data_dir.secrets()
    ports = Ports(int(stack["port_base"]))

    def dsn(role: str, database: str) -> str:
        return f"postgresql://{role}:{secret['passwords'][role]}@{HOST}:{ports.postgres}/{database}"

    owners = {database: dsn(owner, database) for database, owner in OWNERS.items()}
    return {
        "running": data_dir.is_running(),
        "ready": bool(stack.get("ready")),
        "stopping": bool(stack.get("stopping")),
        "data_dir": str(data_dir.path),
        "logs": str(data_dir.logs),
        "pid": stack.get("pid"),
        "started_at": stack.get("started_at"),
        "data_api": f"http://{HOST}:{ports.data}",
        "control_api": f"http://{HOST}:{ports.control}",
        "admin_api": f"http://{HOST}:{ports.admin}",
        "temporal": {
            "address": f"{HOST}:{ports.temporal}",
            "namespace": "default",
            "ui": f"http://{HOST}:{ports.temporal_ui}",
        },
        "sandbox": {
            "payments": f"http://{HOST}:{ports.sandbox}",
            "smtp": f"smtp://{HOST}:{ports.smtp}",
            "mails": str(data_dir.mails) if stack.get("keeps_mail") else None,
        },
        "databases": {**owners, "data": {"local": owners["data"]}},
        "roles": {
            role.name: {database: dsn(role.name, database) for database in role.databases}
            for role in ROLES
            if role.login
        },
        "portal_token": secret["portal_token"],
        "admin": secret["admin"],
        "demo": data_dir.demo(),
        "services": stack.get("services", {}),
    }
