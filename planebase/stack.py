"""The whole platform as child processes of this one: started side by side, kept alive, stopped in order."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from db.roles import LOGINS
from planebase import child, ports, temporal_cli
from planebase.guard import Guard
from planebase.postgres import Cluster
from planebase.prepare import prepare
from planebase.services import Services
from planebase.state import DataDir, Ports
from planebase.supervisor import Ready, Say, Service
from planebase.temporal import Server

_PORTS_PATIENCE_S = 5.0
_LOGS_EVERY_S = 30.0
_WORKER_READY = b"worker ready"


class PortTaken(RuntimeError):
    """Another program has one of our ports; the message names both and says how to choose others."""


class Stack:
    """One platform. `up()` returns when everything is ready; `down()` stops it, whatever state it is in."""

    def __init__(self, data_dir: DataDir, port_base: int, say: Say, *, for_demo: bool = False) -> None:
        self.data_dir = data_dir
        self._for_demo = for_demo
        self.ports = Ports(port_base)
        self._say = say
        self._secrets = data_dir.complete_secrets(LOGINS)
        self._services: dict[str, Service] = {}
        self._ready = self._stopping = False
        self._logs: asyncio.Task[None] | None = None
        self._started = time.monotonic()
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._guard = None if child.TIED else Guard()
        self.cluster = Cluster(data_dir.path / "postgres", self.ports.postgres, log=data_dir.log("postgres"))
        self.temporal = Server(
            data_dir.path / "temporal",
            self.ports.temporal,
            self.ports.temporal_ui,
            log=data_dir.log("temporal"),
            say=say,
        )
        self._apps = Services(data_dir, self.ports, self._secrets)

    async def up(self) -> float:
        """Start everything and return the seconds that it took. Raises StartFailed and PortTaken."""
        await self._check_ports()
        self._save()
        apps = self._apps
        async with asyncio.TaskGroup() as group:
            databases = group.create_task(self._start_databases())
            temporal = group.create_task(self._start_temporal())
            group.create_task(self._start_app(apps.sandbox))
            for api in (apps.data_api, apps.control_api, apps.admin_api):
                group.create_task(self._start_app(api, databases))
            group.create_task(self._start_app(apps.worker, databases, temporal))
        self._ready = True
        self._save()
        self._logs = asyncio.create_task(self._bound_logs())
        return time.monotonic() - self._started

    async def down(self) -> bool:
        """Stop workers (they finish what they hold), APIs, Temporal, PostgreSQL. False if nothing ran."""
        self._ready, self._stopping = False, True
        self._save()  # first of all: who wants a stack now waits for this one to end
        if self._logs:
            self._logs.cancel()
        for names in (
            ("worker",),
            ("data-api", "control-api", "admin-api", "sandbox"),
            ("temporal",),
            ("postgres",),
        ):
            await asyncio.gather(*(self._services[name].stop() for name in names if name in self._services))
        self.temporal.stop()
        self.cluster.stop()
        self._save(clean=True)
        if self._guard:
            self._guard.close()
        return bool(self._services)

    def hurry(self) -> None:
        """Let `down()` wait for nobody any more."""
        for service in self._services.values():
            service.kill()

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(_LOGS_EVERY_S)
            for log in self.data_dir.logs.glob("*.log"):
                await asyncio.to_thread(child.bound_log, log)

    async def _check_ports(self) -> None:
        # What a killed run left behind may need a moment to go.
        patience_s = _PORTS_PATIENCE_S if self.data_dir.stack().get("clean") is False else 0.0
        deadline = time.monotonic() + patience_s
        while taken := {name: port for name, port in self.ports.all.items() if not ports.is_free(port)}:
            if time.monotonic() > deadline:
                name, port = next(iter(taken.items()))
                free = ports.free_base()
                raise PortTaken(
                    f"Port {port} ({name}) is in use by {ports.user_of(port)}. Choose other ports:"
                    f" `make up PORT_BASE={free}`, `planebase up --port-base {free}` or"
                    f" PLANEBASE_PORT_BASE={free} (all ports are counted from that number)."
                )
            await asyncio.sleep(0.1)

    async def _start_databases(self) -> None:
        await asyncio.to_thread(self.cluster.prepare)

        async def ready(service: Service) -> bool:
            return service.pid is not None and self.cluster.is_ready(service.pid)

        await self._start("postgres", self.cluster.spec, ready)
        await prepare(self.data_dir, self.cluster, self._secrets, self._say)

    async def _start_temporal(self) -> None:
        fetch = temporal_cli.Fetch(self._say)
        while not fetch.poll():  # noqa: ASYNC110  (it is another process that we wait for)
            await asyncio.sleep(0.2)
        await asyncio.to_thread(self.temporal.prepare)

        async def ready(service: Service) -> bool:
            return await asyncio.to_thread(self.temporal.is_ready)

        await self._start("temporal", self.temporal.spec, ready)

    async def _start_app(self, app: Callable[[], child.Spec], *after: asyncio.Task[None]) -> None:
        for task in after:
            await task
        name = app().name
        checks: dict[str, Ready] = {
            "data-api": self._http(self.ports.data),
            "control-api": self._http(self.ports.control),
            "admin-api": self._http(self.ports.admin),
            "sandbox": self._tcp(self.ports.sandbox, self.ports.smtp),
            "worker": _worker_ready,
        }
        await self._start(name, app, checks[name])

    async def _start(self, name: str, spec: Callable[[], child.Spec], ready: Ready) -> None:
        service = Service(spec, ready, say=self._say, changed=self._save, guard=self._guard)
        self._services[name] = service
        await service.start()
        self._say(f"{name} is ready after {time.monotonic() - self._started:.1f} s")

    def _save(self, clean: bool = False) -> None:
        """Keep what `status` and the next `up` need to know."""
        now = {
            "pid": os.getpid(),
            "port_base": self.ports.base,
            "for_demo": self._for_demo,
            "ready": self._ready,
            "stopping": self._stopping,
            "clean": clean,
            "started_at": self._started_at,
            "keeps_mail": self._apps.keeps_mail,
            "services": {name: service.summary() for name, service in self._services.items()},
        }
        try:
            self.data_dir.save_stack(now)
        except OSError as error:  # a full disk must not keep a child from being started again
            self._say(f"The state of the stack could not be written: {error}")

    @staticmethod
    def _http(port: int) -> Ready:
        async def ready(service: Service) -> bool:
            return await asyncio.to_thread(ports.answers, f"http://{ports.HOST}:{port}/healthz")

        return ready

    @staticmethod
    def _tcp(*numbers: int) -> Ready:
        async def ready(service: Service) -> bool:
            return all([await asyncio.to_thread(ports.is_open, number) for number in numbers])

        return ready


async def _worker_ready(service: Service) -> bool:
    """The worker says so itself, when all its queues poll."""
    return _WORKER_READY in service.output()
