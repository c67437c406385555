"""`python -m workers.main`: serves task queues and runs the loops, until it is told to stop."""

import argparse
import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.service import RPCError

from core.settings import QueueSettings, WorkerSettings
from core.telemetry import configure_logging, serve_metrics
from db import engines
from db.router import Clusters
from db.sessions import ActivitySession, AlarmsSession, AuditSession, ControlSession, S, sessions
from db.transactions import Sessions
from workers import relay, schedules, temporal
from workers.registry import QUEUES, Services, Tools, activities_of, queue_worker
from workers.starter import Starter
from workflows.registry import KINDS

LOOPS = ("starter", "relay")
_SETTING = {"schema": "schema_queue"}
_AGAIN_S = 2.0

_LOG = structlog.get_logger("worker")


class Process:
    """One worker process: its pools, its workers, its loops."""

    def __init__(self, settings: WorkerSettings, queues: Sequence[str], loops: Sequence[str]) -> None:
        self._settings = settings
        self._queues = queues
        self._loops = loops
        self._engines: list[engines.Engine] = []
        self._clusters: list[Clusters] = []
        self.stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stop`, then finish what is under way, within the drain time."""
        served = {queue: activities_of(self._tools(queue)) for queue in self._queues}
        # The relay needs no Temporal; the starter needs our search attributes to be there.
        tasks = [self._task(name, self._relay) for name in self._loops if name == "relay"]
        client = await temporal.connected_client(
            self._settings.temporal_address, self._settings.temporal_namespace, self.stop
        )
        if client is not None:
            for queue, activities in served.items():
                tasks.append(self._task(queue, self._serve, client, queue, activities))
            tasks += [self._task(name, self._starter) for name in self._loops if name == "starter"]
            tasks.append(self._task("schedules", self._ensure_schedules, client))
            self._say_ready()
        await self.stop.wait()
        _LOG.info("worker stops", drain_s=self._settings.drain_s)
        _, late = await asyncio.wait(tasks, timeout=self._settings.drain_s + 2) if tasks else ((), ())
        if late:
            _LOG.warning("stopped before all was finished", late=sorted(task.get_name() for task in late))
        for clusters in self._clusters:
            await clusters.close()
        for engine in self._engines:
            await engine.dispose()

    def _say_ready(self) -> None:
        ready_file = os.environ.get("PLANEBASE_READY_FILE")
        if ready_file:
            Path(ready_file).touch()
        _LOG.info("worker ready", queues=list(self._queues), loops=list(self._loops), pid=os.getpid())

    def _task(self, name: str, part: Callable[..., Awaitable[None]], *arguments: Any) -> asyncio.Task[None]:
        """Run one part until it is done or we stop; a part that breaks is started again."""

        async def kept_up() -> None:
            while not self.stop.is_set():
                try:
                    await part(*arguments)
                except Exception:
                    _LOG.exception("part of the worker broke", part=name)
                    await self._rest(_AGAIN_S)
                else:
                    return

        return asyncio.create_task(kept_up(), name=name)

    async def _serve(self, client: Client, queue: str, activities: Sequence[Callable[..., Any]]) -> None:
        worker = queue_worker(
            client, queue, activities, slots=self._settings.pool_max_size, drain_s=self._settings.drain_s
        )
        running = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(self.stop.wait())
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not running.done():
            await worker.shutdown()
        await running

    async def _relay(self) -> None:
        await relay.run(self._credentials("maintenance"), self.stop)

    async def _starter(self) -> None:
        client = await temporal.lazy_client(
            self._settings.temporal_address, self._settings.temporal_namespace
        )
        await Starter(self._credentials("maintenance").control_dsn, client).run(self.stop)

    async def _ensure_schedules(self, client: Client) -> None:
        wanted = schedules.wanted(self._settings.metering_interval_s)
        ours = [each for each in wanted if KINDS[each.kind].queue in self._queues]
        while not self.stop.is_set():
            try:
                await schedules.ensure(client, ours)
            except RPCError as error:
                _LOG.warning("schedules not ensured yet", problem=str(error)[:300])
                await self._rest(_AGAIN_S)
            else:
                return

    def _tools(self, queue: str) -> Tools:
        given, settings = self._credentials(queue), self._settings
        # Activities and local activities each hold one connection at a time.
        control = sessions(self._engine(given.control_dsn, 2 * settings.pool_max_size), ControlSession)
        data = None
        if given.data_user and given.data_password:
            data = Clusters(control, given.data_user, given.data_password, pool_size=settings.pool_max_size)
            self._clusters.append(data)
        return Tools(
            queue=queue,
            control=control,
            data=data,
            activity_db=self._sessions(given.activity_dsn, ActivitySession),
            alarms_db=self._sessions(given.alarms_dsn, AlarmsSession),
            audit_db=self._sessions(given.audit_dsn, AuditSession),
            services=Services(
                payments_url=settings.payments_url,
                payments_key=settings.payments_key,
                smtp_url=settings.smtp_url,
                mail_from=settings.mail_from,
                secret_key=settings.secret_key,
                webhook_allow_private=settings.webhook_allow_private,
                notify_delays_s=settings.notify_delays_s,
            ),
        )

    def _sessions(self, dsn: SecretStr | None, kind: type[S]) -> Sessions[S] | None:
        return None if dsn is None else sessions(self._engine(dsn, self._settings.pool_max_size), kind)

    def _engine(self, dsn: SecretStr, size: int) -> engines.Engine:
        made = engines.engine(dsn, pool_size=size)
        self._engines.append(made)
        return made

    def _credentials(self, queue: str) -> QueueSettings:
        given: QueueSettings | None = getattr(self._settings, _SETTING.get(queue, queue))
        if given is None:
            raise SystemExit(f"queue {queue} has no credentials: set PLANEBASE_{queue.upper()}__CONTROL_DSN")
        return given

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), seconds)


def configured(settings: WorkerSettings) -> list[str]:
    """Return the queues that have credentials."""
    return [queue for queue in QUEUES if getattr(settings, _SETTING.get(queue, queue)) is not None]


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        given = [name for name in text.split(",") if name]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"not {', '.join(unknown)}; there are {', '.join(known)}")
        return given

    return names


async def _main(settings: WorkerSettings, queues: Sequence[str], loops: Sequence[str]) -> None:
    process = Process(settings, queues, loops)
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, process.stop.set)
    await process.run()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one worker process."""
    parser = argparse.ArgumentParser(prog="workers.main", description=__doc__)
    parser.add_argument("--queues", type=_names(list(QUEUES)), help="which to serve; default: all with a DSN")
    parser.add_argument("--loops", type=_names(LOOPS), default=[], help="starter,relay")
    given = parser.parse_args(arguments)
    settings = WorkerSettings()
    configure_logging("worker")
    serve_metrics(settings.metrics_port)
    asyncio.run(_main(settings, given.queues or configured(settings), given.loops))
    # Without this, one interpreter in a few ends with `Fatal Python error: PyGILState_Release`.
    os._exit(0)


if __name__ == "__main__":
    main()
