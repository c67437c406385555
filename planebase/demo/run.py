"""The story of the demo, in the order in which a platform team meets it."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from temporalio.client import Client
from temporalio.service import RPCError

from core.ids import new
from planebase.demo import journal, show
from planebase.demo.client import Api, DemoFailed
from planebase.demo.datasets import TableData, airports, cars, weather
from planebase.demo.proof import Check, Received, prove
from planebase.demo.receiver import Receiver
from planebase.demo.tenant import Tenant
from planebase.sandbox.mail import Mailbox
from planebase.state import DataDir

_BATCH = 100
_SETTLE_S = 60.0
_TOP_UP_CENTS = 2_000


async def run(status: dict[str, Any]) -> int:
    """Do the main job on the running stack and return the exit code."""
    data_dir = DataDir(Path(status["data_dir"]))
    folder = data_dir.path / "demo" / str(new())
    log = journal.Journal(folder / "client.jsonl")
    began = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    shown = show.Show(log)
    receiver = Receiver(refusals=2, log=folder / "receiver.jsonl")
    keeps_mail = status["sandbox"]["mails"] is not None
    log.write("know", started_at=began, receiver=str(receiver.log), keeps_mail=keeps_mail)
    try:
        async with httpx.AsyncClient(timeout=30) as http, receiver.running():
            story = Story(status, log, shown, http, receiver)
            await story.tell()
            data_dir.save_demo(story.first.as_demo())
            log.write("know", is_complete=True, ended_at=datetime.now(UTC).isoformat())
            await _settled(folder, status)
    except DemoFailed as error:
        shown.console.print(f"[red]The demo failed:[/] {error}", soft_wrap=True)
        shown.console.print(
            f"Logs are in {status['logs']}; the client's own log is {log.path}.", soft_wrap=True
        )
        return 1
    finally:
        log.close()
    checks = await prove_run(folder, status)
    shown.summary()
    shown.proof(checks, is_complete=True)
    shown.runs([row async for row in show.runs(status["temporal"], began)])
    shown.console.print(f"The client's own log: {log.path}", soft_wrap=True)
    return 0 if all(check.holds for check in checks) else 1


async def prove_run(folder: Path, status: dict[str, Any]) -> list[Check]:
    """Compare one run's client log with the databases as they are now."""
    deliveries = folder / "receiver.jsonl"
    lines = deliveries.read_text().splitlines() if deliveries.exists() else []
    log = journal.read(folder / "client.jsonl")
    mailbox = Mailbox(DataDir(Path(status["data_dir"])).mails) if log.run.get("keeps_mail") else None
    received = Received(
        calls=[json.loads(line) for line in lines],
        mails=list(mailbox.every()) if mailbox else None,
    )
    return await prove(log, status["databases"], received)


async def prove_runs(status: dict[str, Any]) -> int:
    """Prove every run of the demo that this stack has seen: 0 if all holds, 1 if not or nothing was compared."""
    shown = show.Show(None)
    compared, held = False, True
    for path in sorted((Path(status["data_dir"]) / "demo").glob("*/client.jsonl")):
        await _settled(path.parent, status)
        checks = await prove_run(path.parent, status)
        # What a run that was stopped half-way had not come to is no fault.
        is_complete = journal.read(path).run.get("is_complete", False)
        if all(check.is_empty for check in checks) and not is_complete:
            shown.console.print(
                f"{path.parent.name}: nothing to compare yet, since that run was stopped at its beginning."
            )
            continue
        shown.console.print(f"[bold]{path.parent.name}[/]")
        shown.proof(checks, is_complete=is_complete)
        compared = True
        held = held and all(check.holds or (check.is_empty and not is_complete) for check in checks)
    if not compared:
        shown.console.print("Nothing was compared, so nothing is proved; `make demo` writes something.")
    return 0 if compared and held else 1


async def _settled(folder: Path, status: dict[str, Any]) -> None:
    """Wait until the relay has delivered what was written: what is compared is compared after that."""
    deadline = asyncio.get_running_loop().time() + _SETTLE_S
    while asyncio.get_running_loop().time() < deadline:
        # A database that was just killed is back in a moment.
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            checks = await prove_run(folder, status)
            if not any(check.wrong for check in checks):
                return
        await asyncio.sleep(0.3)


class Story:
    """Two tenants and an operator; each method is one step that a reader of the output follows."""

    def __init__(
        self,
        status: dict[str, Any],
        log: journal.Journal,
        shown: show.Show,
        http: httpx.AsyncClient,
        receiver: Receiver,
    ) -> None:
        self._status, self._log, self._show, self._http, self._receiver = status, log, shown, http, receiver
        self.control = Api(
            status["control_api"], {"Authorization": f"Bearer {status['portal_token']}"}, log, http
        )
        tag = str(new())[-6:]
        self.first = Tenant("Aviation", f"aviation-{tag}", self.control, status["data_api"])
        self.second = Tenant("Weather lab", f"weather-{tag}", self.control, status["data_api"])

    async def tell(self) -> None:
        """Run every step."""
        await self._provision()
        await self._money_and_channels()
        await self._schemas()
        await self._load()
        await self._records()
        await self._isolation()
        await self._meter()
        await self._activity()

    async def _provision(self) -> None:
        with self._show.step("Provision two tenants (workflow TenantProvision)") as step:
            await asyncio.gather(self.first.provision(), self.second.provision())
            self._log.write("know", tenants=[self.first.id, self.second.id])
            step.outcome = f"{self.first.slug} and {self.second.slug}: role, schema, wallet, plan, workspace"

    async def _money_and_channels(self) -> None:
        with self._show.step("Top up a wallet through the payment provider (workflow WalletRefill)") as step:
            await self.first.top_up(_TOP_UP_CENTS)
            step.outcome = f"{await self.first.balance_cents() / 100:.2f} in the wallet of {self.first.name}"
        with self._show.step("Say where alerts go: a webhook, e-mail, the portal") as step:
            await self.first.add_channel("webhook", self._receiver.url)
            await self.first.add_channel("email", "operations@example.com")
            step.outcome = (
                f"{self._receiver.url} (will refuse the first two deliveries), operations@example.com"
            )

    async def _schemas(self) -> None:
        plan: list[tuple[Tenant, list[TableData]]] = [
            (self.first, [airports()]),
            (self.second, [weather(), cars()]),
        ]
        with self._show.step("Apply a schema to a base of each (workflow SchemaChange)") as step:
            steps = await asyncio.gather(*(tenant.make_base(tables) for tenant, tables in plan))
            known = {
                table_id: {"tenant": tenant.id, "fields": fields}
                for tenant, _ in plan
                for table_id, fields in tenant.fields.items()
            }
            self._log.write("know", tables=known)
            step.outcome = f"{sum(steps)} steps of DDL, 3 tables, 12 field types"

    async def _load(self) -> None:
        loads = [(self.first, airports()), (self.second, weather()), (self.second, cars())]
        total = sum(len(table.rows) for _, table in loads)
        with (
            self._show.step("Load public data sets through the Data API") as step,
            step.bar("records", total) as advance,
        ):

            async def load(tenant: Tenant, table: TableData) -> int:
                return await tenant.load(table, _BATCH, advance)

            await asyncio.gather(*(load(tenant, table) for tenant, table in loads))
            step.outcome = f"{total:,} records in calls of {_BATCH}, 3 writers"

    async def _records(self) -> None:
        with self._show.step("Read, filter, change and delete records through the Data API") as step:
            step.outcome = await self.first.work_on_airports()

    async def _isolation(self) -> None:
        with self._show.step("Try to reach one tenant's rows with the other's token") as step:
            tried = await self.first.cannot_reach(self.second) + await self.second.cannot_reach(self.first)
            step.outcome = f"{tried} ways tried, each answered like something that does not exist"

    async def _meter(self) -> None:
        with self._show.step("Meter, bill, alert, notify (workflows MeteringCycle, Notify)") as step:
            await self.first.usage_counted(self._status["databases"]["control"])
            before = await self.first.balance_cents()
            await self._cycle()
            alert = await self.first.alert("RUNS_THRESHOLD")
            try:
                await asyncio.wait_for(self._receiver.arrived.wait(), _SETTLE_S)
            except TimeoutError:
                raise DemoFailed("the alert's webhook was not delivered") from None
            await self.first.notified(alert["id"], {"webhook", "email", "inapp"})
            debit = before - await self.first.debited(before)
            step.outcome = (
                f"{debit / 100:.2f} debited, alert {alert['kind']} ({alert['severity']}) open, webhook delivered at"
                f" attempt {len(self._receiver.calls)}, e-mail and portal too"
            )

    async def _cycle(self) -> None:
        """Ask the Schedule for a cycle now; asked twice because an answer was lost, it measures twice, bills once."""
        temporal = self._status["temporal"]
        deadline = asyncio.get_running_loop().time() + _SETTLE_S
        while True:
            try:
                client = await Client.connect(temporal["address"], namespace=temporal["namespace"])
                await client.get_schedule_handle("metering").trigger()
            except (RPCError, RuntimeError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise DemoFailed(f"Temporal at {temporal['address']} does not answer: {error}") from error
                await asyncio.sleep(0.3)
            else:
                return

    async def _activity(self) -> None:
        with self._show.step("List the tenant's activity") as step:
            counts = await self.first.activity()
            step.outcome = ", ".join(f"{count:,} {action}" for action, count in sorted(counts.items()))
