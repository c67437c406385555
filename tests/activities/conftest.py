"""The activities of money, alerts and upkeep, each with the role of its own queue."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest_asyncio
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import ActivityEnvironment

from activities.alert import AlertActivities
from activities.metering import MeteringActivities
from activities.notify import NotifyActivities
from activities.outgoing import Mailer
from activities.partitions import PartitionActivities
from activities.payments import HttpPayments
from activities.wallet import Retries, WalletActivities
from db import engines
from db.router import Clusters
from db.sessions import ActivitySession, AlarmsSession, AuditSession, ControlSession, sessions
from tests.conftest import Databases
from tests.parts import PAYMENTS_KEY, Mails, Sandbox, mails, receiver, sandbox

__all__ = ["mails", "receiver", "sandbox"]

R = TypeVar("R")
A = TypeVar("A")
SECRET_KEY = SecretStr(Fernet.generate_key().decode())
SENDER = "planebase@example.com"


async def run(activity: Callable[[A], Awaitable[R]], arg: A, attempt: int = 1) -> R:
    """Run an activity as a worker would, on its `attempt`-th try."""
    env = ActivityEnvironment()
    env.info = replace(env.info, attempt=attempt)
    return await env.run(activity, arg)


class Money:
    """Every activity of this chain, each with the role of its own queue."""

    def __init__(self, databases: Databases, sandbox: Sandbox, mails: Mails) -> None:
        self.databases = databases
        self._engines: list[AsyncEngine] = []
        metering, billing, notify = "metering_worker", "billing_worker", "notify_worker"
        upkeep = "maintenance_worker"
        self.metering = MeteringActivities(
            self._control(metering), self._alarms(metering), self._clusters(metering)
        )
        self.alerts = AlertActivities(self._control(metering), self._alarms(metering))
        self.provider = HttpPayments(sandbox.url, PAYMENTS_KEY, timeout_s=0.4)
        self.wallet = WalletActivities(
            self._control(billing),
            self._alarms(billing),
            self.provider,
            Retries(first_s=0.01, longest_s=0.05, attempts=4),
        )
        self.notify = NotifyActivities(
            self._control(notify),
            self._alarms(notify),
            mailer=Mailer(mails.url, SENDER),
            secret_key=SECRET_KEY,
            allow_private=True,
            delays_s=(0, 0.01, 0.01),
        )
        self.strict = NotifyActivities(
            self._control(notify), self._alarms(notify), delays_s=(0, 0.01, 0.01), secret_key=SECRET_KEY
        )
        self.partitions = PartitionActivities(
            self._control(upkeep),
            sessions(self._engine(upkeep, "activity"), ActivitySession),
            sessions(self._engine(upkeep, "audit"), AuditSession),
            self._clusters(upkeep),
        )

    def _engine(self, role: str, database: str) -> AsyncEngine:
        made = engines.engine(self.databases.secret(role, database))
        self._engines.append(made)
        return made

    def _control(self, role: str) -> Any:
        return sessions(self._engine(role, "control"), ControlSession)

    def _alarms(self, role: str) -> Any:
        return sessions(self._engine(role, "alarms"), AlarmsSession)

    def _clusters(self, role: str) -> Clusters:
        return Clusters(self._control(role), role, SecretStr(self.databases.passwords[role]))

    async def close(self) -> None:
        """Close every pool."""
        for engine in self._engines:
            await engine.dispose()


@pytest_asyncio.fixture(scope="session")
async def money(databases: Databases, sandbox: Sandbox, mails: Mails) -> AsyncIterator[Money]:
    """The activities, once for all tests here."""
    made = Money(databases, sandbox, mails)
    yield made
    await made.close()
