"""Which code serves which queue: one line per workflow and per class of activities."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import SecretStr
from temporalio.client import Client
from temporalio.worker import Worker

from activities.alert import AlertActivities
from activities.metering import MeteringActivities
from activities.notify import NotifyActivities
from activities.operations import OperationActivities
from activities.outgoing import Mailer
from activities.partitions import PartitionActivities
from activities.payments import HttpPayments
from activities.schema_change import SchemaChangeActivities
from activities.tenant_provision import TenantProvisionActivities
from activities.wallet import WalletActivities
from core.notification import DELAYS_S
from db.router import Clusters
from db.sessions import ActivitySession, AlarmsSession, AuditSession, ControlSession
from db.transactions import Sessions
from workers.interceptors import ActivityInterceptor, Hook
from workflows.metering import MeteringCycle
from workflows.notify import Notify
from workflows.partitions import MaintainPartitions
from workflows.schema_change import SchemaChange
from workflows.tenant_provision import TenantProvision
from workflows.wallet_refill import WalletRefill

T = TypeVar("T")


class NotConfigured(Exception):
    """A queue was given no credential or address that its code needs."""


@dataclass(frozen=True)
class Services:
    """Other people's servers that activities call, and what they need for it."""

    payments_url: str | None = None
    payments_key: SecretStr | None = None
    smtp_url: str | None = None
    mail_from: str = "planebase@localhost"
    secret_key: SecretStr | None = None
    webhook_allow_private: bool = False
    notify_delays_s: Sequence[float] = ()


@dataclass(frozen=True)
class Tools:
    """What one queue's activities are built from: its role's databases, and the services."""

    queue: str
    control: Sessions[ControlSession]
    services: Services
    data: Clusters | None = None
    activity_db: Sessions[ActivitySession] | None = None
    alarms_db: Sessions[AlarmsSession] | None = None
    audit_db: Sessions[AuditSession] | None = None

    @property
    def clusters(self) -> Clusters:
        """The data clusters."""
        return self._given(self.data, "DATA_USER and DATA_PASSWORD")

    @property
    def activity(self) -> Sessions[ActivitySession]:
        """The Activity DB."""
        return self._given(self.activity_db, "ACTIVITY_DSN")

    @property
    def alarms(self) -> Sessions[AlarmsSession]:
        """The Alarms DB."""
        return self._given(self.alarms_db, "ALARMS_DSN")

    @property
    def audit(self) -> Sessions[AuditSession]:
        """The Admin Audit DB."""
        return self._given(self.audit_db, "AUDIT_DSN")

    @property
    def payments(self) -> HttpPayments:
        """The payment provider."""
        url = self._given(self.services.payments_url, "PAYMENTS_URL")
        return HttpPayments(url, self._given(self.services.payments_key, "PAYMENTS_KEY"))

    @property
    def mailer(self) -> Mailer | None:
        """The mail server, if there is one."""
        url = self.services.smtp_url
        return None if url is None else Mailer(url, self.services.mail_from)

    def _given(self, value: T | None, name: str) -> T:
        if value is None:
            raise NotConfigured(f"queue {self.queue} needs {name}")
        return value


@dataclass(frozen=True)
class Queue:
    """The code of one task queue."""

    workflows: Sequence[type] = ()
    activities: Callable[[Tools], Sequence[object]] = lambda _: ()


QUEUES: Mapping[str, Queue] = {
    "schema": Queue((SchemaChange,), lambda t: [SchemaChangeActivities(t.control, t.clusters)]),
    "tenants": Queue((TenantProvision,), lambda t: [TenantProvisionActivities(t.control, t.clusters)]),
    "metering": Queue(
        (MeteringCycle,),
        lambda t: [MeteringActivities(t.control, t.alarms, t.clusters), AlertActivities(t.control, t.alarms)],
    ),
    "billing": Queue((WalletRefill,), lambda t: [WalletActivities(t.control, t.alarms, t.payments)]),
    "notify": Queue(
        (Notify,),
        lambda t: [
            NotifyActivities(
                t.control,
                t.alarms,
                mailer=t.mailer,
                secret_key=t.services.secret_key,
                allow_private=t.services.webhook_allow_private,
                delays_s=t.services.notify_delays_s or DELAYS_S,
            )
        ],
    ),
    "maintenance": Queue(
        (MaintainPartitions,), lambda t: [PartitionActivities(t.control, t.activity, t.audit, t.clusters)]
    ),
}
WORKFLOWS: tuple[type, ...] = tuple(workflow for queue in QUEUES.values() for workflow in queue.workflows)


def queue_worker(
    client: Client,
    queue: str,
    activities: Sequence[Callable[..., Any]],
    *,
    slots: int,
    drain_s: float,
    hook: Hook | None = None,
) -> Worker:
    """Return the worker of one queue, set so that a crash loses as little time as was measured possible."""
    return Worker(
        client,
        task_queue=queue,
        workflows=QUEUES[queue].workflows,
        activities=activities,
        interceptors=[ActivityInterceptor(hook)],
        max_concurrent_workflow_tasks=4,
        max_concurrent_activities=slots,
        max_concurrent_local_activities=slots,
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=drain_s),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )


def activities_of(tools: Tools) -> list[Callable[..., Any]]:
    """Return the activities of a queue: its own, and those that end every operation."""
    holders = [OperationActivities(tools.control), *QUEUES[tools.queue].activities(tools)]
    return [
        method
        for holder in holders
        for _, method in inspect.getmembers(holder, inspect.ismethod)
        if hasattr(method, "__temporal_activity_definition")
    ]
