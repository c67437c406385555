"""One tenant of the demo, seen through the portal's Control API and its own token on the Data API."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import asyncpg

from planebase.demo.client import Api, DemoFailed
from planebase.demo.datasets import TableData

_WAIT_S = 60.0
_POLL_S = 0.15
_WRITTEN_ROWS = (
    "select coalesce(sum(quantity), 0)::bigint from control.usage_events"
    " where tenant_id = $1 and meter = 'runs'"
)


class Tenant:
    """Remembers ids as they are answered, and what was written, so that each step can be checked."""

    def __init__(self, name: str, slug: str, control: Api, data_url: str) -> None:
        self.name, self.slug, self._control, self._data_url = name, slug, control, data_url
        self.id = self.workspace_id = self.base_id = self.wallet_id = self.token = ""
        self.tables: dict[str, str] = {}
        self.fields: dict[str, dict[str, str]] = {}
        self.records: dict[str, list[str]] = {}
        self.written = 0
        self.data: Api = control

    def as_demo(self) -> dict[str, str]:
        """What `planebase status --json` shows under `demo`."""
        table_id = next(iter(self.tables.values()))
        return {"tenant_id": self.id, "base_id": self.base_id, "table_id": table_id, "token": self.token}

    async def provision(self) -> None:
        """Ask for the tenant and wait for its workflow."""
        answer = await self._control.call(
            "POST", "/tenants", json={"slug": self.slug, "name": self.name, "region": "local"}, expect=(202,)
        )
        operation = await self._control.operation(answer)
        self.id = operation["tenant_id"]
        workspaces = await self._control.json("GET", f"/tenants/{self.id}/workspaces")
        self.workspace_id = workspaces["workspaces"][0]["id"]
        self.wallet_id = (await self._control.json("GET", f"/tenants/{self.id}/wallet"))["id"]

    async def top_up(self, amount_cents: int) -> None:
        """Pay into the wallet and wait for the provider."""
        path = f"/wallets/{self.wallet_id}/topups"
        await self._control.operation(
            await self._control.call("POST", path, json={"amount_cents": amount_cents}, expect=(202,))
        )

    async def balance_cents(self) -> int:
        """What is in the wallet now."""
        return int((await self._control.json("GET", f"/wallets/{self.wallet_id}"))["balance_cents"])

    async def add_channel(self, channel: str, to: str) -> None:
        """Name a place that hears of alerts."""
        await self._control.call("POST", f"/tenants/{self.id}/channels", json={"channel": channel, "to": to})

    async def make_base(self, tables: list[TableData]) -> int:
        """Create a base, apply its schema and make a token for it; returns the number of DDL steps."""
        base = await self._control.json(
            "POST", f"/workspaces/{self.workspace_id}/bases", json={"name": f"{self.name} base"}
        )
        self.base_id = base["id"]
        spec = {"tables": [table.spec for table in tables]}
        path = f"/bases/{self.base_id}/schema"
        dry = await self._control.json("PUT", path, json={"spec": spec, "dry_run": True}, expect=(200,))
        await self._control.operation(
            await self._control.call("PUT", path, json={"spec": spec}, expect=(202,))
        )
        schema = await self._control.json("GET", path)
        for table in schema["spec"]["tables"]:
            self.tables[table["name"]] = table["id"]
            self.fields[table["id"]] = {field["name"]: field["id"] for field in table["fields"]}
        made = await self._control.json(
            "POST",
            f"/tenants/{self.id}/tokens",
            json={"name": "demo", "scopes": ["records:read", "records:write"], "base_id": self.base_id},
        )
        self.token = made["token"]
        self.data = Api(
            self._data_url,
            {"Authorization": f"Bearer {self.token}"},
            self._control.journal,
            self._control.http,
        )
        return len(dry["steps"])

    def path(self, table: str, base_id: str | None = None) -> str:
        """The records of a table on the Data API."""
        return f"/bases/{base_id or self.base_id}/tables/{self.tables[table]}/records"

    async def write(self, method: str, table: str, tail: str = "", **kwargs: Any) -> Any:
        """One change through the Data API; rows that the answer names are counted."""
        answer = await self.data.call(method, self.path(table) + tail, table_id=self.tables[table], **kwargs)
        body = answer.json()
        self.written += len(body.get("records", [body]))
        return body

    async def load(self, table: TableData, batch: int, advance: Callable[[int], None]) -> int:
        """Create every row of `table`, in calls of `batch`."""
        ids: list[str] = []
        for start in range(0, len(table.rows), batch):
            rows = [{"fields": row} for row in table.rows[start : start + batch]]
            body = await self.write("POST", table.name, json={"records": rows}, expect=(201,))
            ids += [record["id"] for record in body["records"]]
            advance(len(rows))
        self.records[table.name] = ids
        return len(ids)

    async def work_on_airports(self) -> str:
        """Read one, walk all pages, filter and sort, PATCH, PUT, refuse a stale version, delete; returns a sentence."""
        table, ids = "Airports", self.records["Airports"]
        one = await self.data.json("GET", f"{self.path(table)}/{ids[0]}")
        walked: list[str] = []
        cursor: str | None = None
        while True:
            params = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
            page = await self.data.json("GET", self.path(table), params=params)
            walked += [record["id"] for record in page["records"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        _must(walked == ids or sorted(walked) == sorted(ids), "the pages do not add up to what was loaded")
        texan = await self.data.json(
            "GET",
            self.path(table),
            params={"filter": "and(State.eq.TX,Latitude.gt.32)", "sort": "City,-Code", "limit": "1000"},
        )
        cities = [record["fields"]["City"] for record in texan["records"]]
        _must(
            bool(cities) and all(r["fields"]["State"] == "TX" for r in texan["records"]),
            "the filter let others in",
        )
        patched = await self.write(
            "PATCH", table, f"/{ids[0]}", json={"fields": {"Notes": "visited", "Runways checked": True}},
            headers={"If-Match": f'"v{one["version"]}"'},
        )  # fmt: skip
        _must(patched["version"] == one["version"] + 1, "a change did not raise the version by one")
        stale = await self.data.call(
            "PATCH", f"{self.path(table)}/{ids[0]}", json={"fields": {"Notes": "lost update"}},
            headers={"If-Match": f'"v{one["version"]}"'}, expect=(412,),
        )  # fmt: skip
        _must(stale.json()["code"] == "precondition_failed", "a stale version was not named")
        await self.write(
            "PUT",
            table,
            f"/{ids[1]}",
            json={"fields": {"Code": "DEMO1", "Name": "Replaced", "Website": "https://example.com/"}},
        )
        many = [{"id": record_id, "fields": {"Runways checked": True}} for record_id in ids[2:52]]
        await self.write("PATCH", table, json={"records": many})
        await self.write("DELETE", table, f"/{ids[52]}", expect=(200,))
        await self.write(
            "DELETE", table, params=[("id", record_id) for record_id in ids[53:63]], expect=(200,)
        )
        gone = await self.data.call("GET", f"{self.path(table)}/{ids[52]}", expect=(404,))
        _must(gone.json()["code"] == "not_found", "a deleted record still answers")
        return (
            f"{len(walked):,} read in pages, {len(cities)} filtered and sorted, 52 changed, 11 deleted,"
            " a stale version refused"
        )

    async def cannot_reach(self, other: "Tenant") -> int:
        """Try every way to `other`'s rows with the own token; each must answer as if there were nothing."""
        tried = 0
        for name, table_id in other.tables.items():
            record_id = other.records[name][0]
            for path in (
                other.path(name),
                f"{other.path(name)}/{record_id}",
                f"/bases/{self.base_id}/tables/{table_id}/records",
                f"/bases/{self.base_id}/tables/{table_id}/records/{record_id}",
                f"{self.path(next(iter(self.tables)))}/{record_id}",
            ):
                answer = await self.data.call("GET", path, expect=(404,))
                _must(answer.json()["code"] == "not_found", f"{path} told a difference")
                tried += 1
                if path.endswith(record_id):
                    await self.data.call("DELETE", path, expect=(404,))
                    await self.data.call("PATCH", path, json={"fields": {}}, expect=(404, 422))
                    tried += 2
        return tried

    async def usage_counted(self, control_dsn: str) -> None:
        """Wait until the relay has counted every record that was written."""
        await _until(lambda: self._counted(control_dsn), "the relay did not count every write")

    async def _counted(self, control_dsn: str) -> bool:
        # A new connection each time: the database may be killed while we wait.
        try:
            conn = await asyncpg.connect(control_dsn)
            try:
                return bool(await conn.fetchval(_WRITTEN_ROWS, self.id) >= self.written)
            finally:
                await conn.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    async def alert(self, kind: str) -> dict[str, Any]:
        """Wait for an alert of `kind` and return it."""
        found: list[dict[str, Any]] = []

        async def opened() -> bool:
            page = await self._control.json("GET", f"/tenants/{self.id}/alerts")
            found[:] = [alert for alert in page["alerts"] if alert["kind"] == kind]
            return bool(found)

        await _until(opened, f"no alert {kind} was opened")
        return found[0]

    async def notified(self, alert_id: str, channels: set[str]) -> None:
        """Wait until every channel has been told."""

        async def sent() -> bool:
            page = await self._control.json("GET", f"/tenants/{self.id}/notifications")
            told = {
                n["channel"]
                for n in page["notifications"]
                if n["alert_id"] == alert_id and n["status"] == "sent"
            }
            return told >= channels

        await _until(sent, f"not every channel of {sorted(channels)} was told")

    async def debited(self, before_cents: int) -> int:
        """Wait for the debit of the metering cycle and return the balance after it."""
        after: list[int] = []

        async def moved() -> bool:
            after[:] = [await self.balance_cents()]
            return after[0] < before_cents

        await _until(moved, "the wallet was not debited")
        return after[0]

    async def activity(self) -> Counter[str]:
        """Everything the tenant can read about what happened, counted by action."""
        counts: Counter[str] = Counter()
        cursor: str | None = None
        while True:
            params = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
            page = await self._control.json("GET", f"/tenants/{self.id}/activity", params=params)
            counts.update(event["action"] for event in page["events"])
            cursor = page["next_cursor"]
            if cursor is None:
                return counts


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise)


async def _until(done: Callable[[], Any], otherwise: str) -> None:
    deadline = asyncio.get_running_loop().time() + _WAIT_S
    while not await done():
        if asyncio.get_running_loop().time() > deadline:
            raise DemoFailed(f"{otherwise} within {_WAIT_S:.0f} s")
        await asyncio.sleep(_POLL_S)
