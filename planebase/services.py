"""The processes of the platform: what each runs and the few settings that it is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from planebase import child
from planebase.ports import HOST
from planebase.state import DataDir, Ports

QUEUES = ("schema", "tenants", "metering", "billing", "notify", "maintenance")
# What a person may set for the embedded stack as well, to use a real service or another pace.
_PASSED_ON = (
    "SMTP_URL",
    "MAIL_FROM",
    "PAYMENTS_URL",
    "PAYMENTS_KEY",
    "METERING_INTERVAL_S",
    "NOTIFY_DELAYS_S",
)
_DRAIN_S = 10


class Services:
    """The application's processes for one stack; a process receives only what its own roles may reach."""

    def __init__(self, data_dir: DataDir, ports: Ports, secrets: Mapping[str, Any]) -> None:
        self._data_dir = data_dir
        self._ports = ports
        self._secrets = secrets
        self._temporal = {
            "TEMPORAL_ADDRESS": f"{HOST}:{ports.temporal}",
            "TEMPORAL_NAMESPACE": "default",
            "TEMPORAL_UI": f"http://{HOST}:{ports.temporal_ui}",
        }

    @property
    def keeps_mail(self) -> bool:
        """Whether mails go to the sandbox, and not to a mail server that a person has set."""
        return "PLANEBASE_SMTP_URL" not in os.environ

    def data_api(self) -> child.Spec:
        """The public Data API: nothing here reaches billing, DDL, audit or Temporal."""
        return self._python(
            "data-api",
            "api.data",
            {
                "DATA_HOST": HOST,
                "DATA_PORT": str(self._ports.data),
                "CONTROL_DSN": self._dsn("data_api", "control"),
                "ACTIVITY_DSN": self._dsn("data_api", "activity"),
                "DATA_USER": "data_api",
                "DATA_PASSWORD": self._secrets["passwords"]["data_api"],
                "CURSOR_SECRET": self._secrets["cursor_secret"],
            },
        )

    def control_api(self) -> child.Spec:
        """The private Control API."""
        return self._python(
            "control-api",
            "api.control",
            {
                "CONTROL_HOST": HOST,
                "CONTROL_PORT": str(self._ports.control),
                "CONTROL_DSN": self._dsn("control_api", "control"),
                "ACTIVITY_DSN": self._dsn("control_api", "activity"),
                "ALARMS_DSN": self._dsn("control_api", "alarms"),
                "PORTAL_TOKEN": self._secrets["portal_token"],
                "SECRET_KEY": self._secrets["secret_key"],
                # The demo's receiver has no certificate; production takes https alone.
                "WEBHOOK_ALLOW_HTTP": "true",
                **self._temporal,
            },
        )

    def admin_api(self) -> child.Spec:
        """The operators' Admin API."""
        return self._python(
            "admin-api",
            "api.admin",
            {
                "ADMIN_HOST": HOST,
                "ADMIN_PORT": str(self._ports.admin),
                "CONTROL_DSN": self._dsn("admin_api", "control"),
                "AUDIT_DSN": self._dsn("admin_api", "audit"),
                "SECRET_KEY": self._secrets["secret_key"],
                **self._temporal,
            },
        )

    def sandbox(self) -> child.Spec:
        """The payment provider and the mail receiver of the embedded stack."""
        return self._python(
            "sandbox",
            "planebase.sandbox",
            {
                "SANDBOX_HOST": HOST,
                "SANDBOX_PORT": str(self._ports.sandbox),
                "SANDBOX_SMTP_PORT": str(self._ports.smtp),
                "SANDBOX_DATA_DIR": str(self._data_dir.sandbox),
                "SANDBOX_KEY": self._secrets["payments_key"],
            },
        )

    def worker(self) -> child.Spec:
        """One process for all queues and both loops; each queue has its own role's credentials."""
        env = {
            **self._temporal,
            "PAYMENTS_URL": f"http://{HOST}:{self._ports.sandbox}",
            "PAYMENTS_KEY": self._secrets["payments_key"],
            "SMTP_URL": f"smtp://{HOST}:{self._ports.smtp}",
            "SECRET_KEY": self._secrets["secret_key"],
            # The demo's receiver listens on this machine; a production worker refuses such addresses.
            "WEBHOOK_ALLOW_PRIVATE": "true",
            # The first retries come soon, so that a person can watch them; the rest is Standard Webhooks' table.
            "NOTIFY_DELAYS_S": "[0, 1, 2, 5, 30, 300, 1800, 7200, 18000, 36000]",
            "DRAIN_S": str(_DRAIN_S),
        }
        for queue in QUEUES:
            env |= {f"{queue.upper()}__{key}": value for key, value in self._queue(f"{queue}_worker").items()}
        env |= {key: os.environ[f"PLANEBASE_{key}"] for key in _PASSED_ON if f"PLANEBASE_{key}" in os.environ}
        arguments = ("--queues", ",".join(QUEUES), "--loops", "starter,relay")
        return self._python("worker", "workers.main", env, arguments, stop_timeout_s=_DRAIN_S + 5)

    def _queue(self, role: str) -> dict[str, str]:
        from db.roles import ROLES

        databases = next(entry.databases for entry in ROLES if entry.name == role)
        env = {f"{name.upper()}_DSN": self._dsn(role, name) for name in databases if name != "data"}
        if "data" in databases:
            env |= {"DATA_USER": role, "DATA_PASSWORD": self._secrets["passwords"][role]}
        return env

    def _dsn(self, role: str, database: str) -> str:
        return (
            f"postgresql://{role}:{self._secrets['passwords'][role]}@{HOST}:{self._ports.postgres}/{database}"
        )

    def _python(
        self,
        name: str,
        module: str,
        env: Mapping[str, str],
        arguments: tuple[str, ...] = (),
        stop_timeout_s: float = 10.0,
    ) -> child.Spec:
        return child.Spec(
            name=name,
            argv=(sys.executable, "-m", module, *arguments),
            log=self._data_dir.log(name),
            env={f"PLANEBASE_{key}": value for key, value in env.items()},
            stop_timeout_s=stop_timeout_s,
        )
