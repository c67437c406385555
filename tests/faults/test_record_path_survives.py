"""Kill the Data API and PostgreSQL under writers: what was acknowledged is there, and nothing is written twice."""

import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import pytest

from db.data import names
from planebase import child
from planebase.ports import free_base
from planebase.postgres import PostgresError
from tests.api.data.world import Base, World
from tests.conftest import Databases, own_databases
from tests.faults.writers import FIELDS, PATIENCE_S, Call, Writers

# Who is killed. While a record is held, calls are known to wait for it as the Data API dies under them.
VICTIMS = ["api"] * 3 + ["api while a record is held"] * 2 + ["postgres"] * 3 + ["backend"] * 3 + ["both"]
# How many calls are answered between two kills.
BETWEEN = range(40, 120)
# A commit that takes its time is under way when a kill comes, and lets writers meet.
SLOW_COMMITS = {"fsync": "on", "commit_delay": "5000", "commit_siblings": "0"}
_WAITING_FOR_ME = (
    "select count(*) from pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))"
)


@dataclass
class Servers:
    """The Data API in a process of its own before a PostgreSQL of its own, each to be killed and started again."""

    databases: Databases
    log: Path
    port: int = field(default_factory=lambda: free_base(1))
    api: Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the Data API answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def spec(self) -> child.Spec:
        """How the Data API is run."""
        return child.Spec(
            name="data-api",
            argv=(sys.executable, "-m", "api.data"),
            log=self.log,
            env={
                "PLANEBASE_DATA_PORT": str(self.port),
                "PLANEBASE_CONTROL_DSN": self.databases.dsn("data_api", "control"),
                "PLANEBASE_ACTIVITY_DSN": self.databases.dsn("data_api", "activity"),
                "PLANEBASE_DATA_PASSWORD": self.databases.passwords["data_api"],
                "PLANEBASE_CURSOR_SECRET": "a secret of the tests",
            },
        )

    @property
    def postmaster(self) -> psutil.Process:
        """PostgreSQL's first process."""
        return psutil.Process(
            int((self.databases.cluster.pgdata / "postmaster.pid").read_text().split("\n")[0])
        )

    def start_api(self) -> None:
        """Start the Data API; it answers a little later."""
        self.api = child.popen(self.spec)

    def kill_api(self) -> None:
        """End the Data API without a word; its sessions in PostgreSQL find out by themselves."""
        assert self.api is not None
        self.api.kill()
        self.api.wait()

    def start_postgres(self) -> None:
        """Start PostgreSQL again once the sessions of the killed one have ended."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self.databases.cluster.stop()
            try:
                self.databases.cluster.start()
            except PostgresError:
                assert time.monotonic() < deadline, child.log_tail(self.databases.cluster.log)
                time.sleep(0.05)
            else:
                return

    def kill_backend(self) -> None:
        """End one session of the Data API, whereupon PostgreSQL ends all of them and recovers."""
        while True:
            for process in random.sample(every := self.postmaster.children(), len(every)):
                title = " ".join(process.cmdline())
                if title.startswith("postgres: data_api data "):
                    process.kill()
                    return
            time.sleep(0.02)


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Servers]:
    """Both servers; they end with the test."""
    with contextmanager(own_databases)(tmp_path_factory) as databases:
        databases.cluster.settings |= SLOW_COMMITS
        made = Servers(databases, tmp_path / "data-api.log")
        made.start_postgres()
        made.start_api()
        try:
            yield made
        finally:
            if made.api is not None:
                child.stop(made.api, made.spec)


@dataclass
class Killer:
    """Kills one after another at random moments, and starts again what was killed."""

    servers: Servers
    writers: Writers
    running: "Future[None]"
    table: str
    rng: random.Random
    kills: Counter[str] = field(default_factory=Counter)

    def kill(self, victims: list[str]) -> None:
        """Kill each, with some calls answered before and after."""
        for victim in self.rng.sample(victims, len(victims)):
            self._some_answers()
            time.sleep(self.rng.uniform(0, 0.1))
            if victim == "api while a record is held":
                asyncio.run(self._api_while_a_record_is_held())
                continue
            if victim in ("postgres", "both"):
                self.servers.postmaster.kill()
                self.kills["postgres"] += 1
            if victim in ("api", "both"):
                self.servers.kill_api()
                self.kills["api"] += 1
                self.servers.start_api()
            if victim in ("postgres", "both"):
                self.servers.start_postgres()
            if victim == "backend":
                self.servers.kill_backend()
                self.kills["backend"] += 1
        self._some_answers()

    def _some_answers(self) -> None:
        book = self.writers.book
        enough = book.answered + self.rng.choice(BETWEEN)
        self._until(lambda: book.answered >= enough)

    async def _api_while_a_record_is_held(self) -> None:
        """Kill the Data API while calls wait in PostgreSQL, and let them end only once one was sent again."""
        book = self.writers.book
        met = book.in_flight_after_loss
        for _ in range(5):
            async with self.servers.databases.administer("data") as conn, conn.transaction():
                held = self.rng.choice(self.writers.hot)
                await conn.execute(f"select from {self.table} where id = $1 for update", held)
                while not await conn.fetchval(_WAITING_FOR_ME):
                    self._look()
                self.servers.kill_api()
                self.kills["api while a record is held"] += 1
                self.servers.start_api()
                while book.in_flight_after_loss == met and await conn.fetchval(_WAITING_FOR_ME):
                    self._look()
            if book.in_flight_after_loss > met:
                return
            # They do not wait for ever, and the Data API took longer to come back: once more.

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.writers.book.figures()
            self._look()

    def _look(self) -> None:
        """Wait a moment; raises where the writers or the Data API have ended."""
        if self.running.done():
            self.running.result()
        assert self.servers.api is not None
        assert self.servers.api.poll() is None, child.log_tail(self.servers.log)
        time.sleep(0.01)


def test_no_kill_loses_or_repeats_a_write(
    servers: Servers, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    world = World(servers.databases)
    base, tokens = asyncio.run(_peopled(world))
    writers = Writers(servers.url, tokens, base.path(), seed)
    asyncio.run(writers.begin())
    # The servers are started from this thread, since they end with the thread that started them.
    with ThreadPoolExecutor(1) as clients:
        running = clients.submit(lambda: asyncio.run(writers.run()))
        killer = Killer(servers, writers, running, _table(base), random.Random(seed))
        try:
            killer.kill(VICTIMS)
            writers.enough.set()
            running.result()
        except BaseException:
            writers.given_up.set()
            raise
    book, before = writers.book, asyncio.run(_state(servers, base))
    asyncio.run(writers.repeat_all())
    figures = book.figures() | {"seed": seed, "kills": dict(killer.kills), "shared": _shared(before[1])}
    print(json.dumps(figures, indent=1))  # noqa: T201
    for name, value in figures.items():
        record_property(name, value)
    _judge(book.calls, base, *before)
    assert book.wrong[:3] == []
    assert asyncio.run(_state(servers, base)) == before, "a repeated call has changed something"
    assert killer.kills["api"] >= 4
    assert killer.kills["api while a record is held"] >= 2
    assert (killer.kills["postgres"], killer.kills["backend"]) == (4, 3)
    assert book.answered >= len(VICTIMS) * BETWEEN[0]
    # Connections were lost, and calls sent again that were still under way, and such as had been done unheard.
    assert min(book.cut_off, book.unavailable, book.in_flight_after_loss, book.done_before) > 0
    assert book.replays > len(book.calls) / 2
    assert figures["shared"] > 0
    done = Counter(call.kind for call in book.calls if call.answer)
    assert min(done[kind] for kind in ("patch hot", "patch hot if-match", "upsert many", "create many")) > 5
    assert any(call.refusal for call in book.calls if call.match is not None and not call.answer)


def _judge(calls: list[Call], base: Base, table: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    """Compare what was acknowledged with the change log and with the table, both ways."""
    written = {(row["record_id"], row["version"]): row for row in changes}
    assert len(written) == len(changes), "a version has more than one change"

    chains: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (record_id, _), row in sorted(written.items()):
        chains[record_id].append(row)
    for record_id, chain in chains.items():
        assert [row["version"] for row in chain] == list(range(1, len(chain) + 1)), record_id
        actions = [row["action"] for row in chain]
        assert actions[0] == "create"
        assert set(actions[1:-1]) <= {"update"}
        for earlier, later in pairwise(chain):
            assert later["before"] == earlier["after"], record_id
    ends = {record_id: chain[-1]["after"] for record_id, chain in chains.items()}
    assert table == {record_id: end for record_id, end in ends.items() if end is not None}

    columns = {each.name: names.column_name(str(each.id)) for each in base.tables["Tasks"].fields}
    owners: dict[tuple[str, int], Call] = {}
    operations: dict[str, Call] = {}
    for call in calls:
        if call.answer is None:
            continue
        rows = call.answer.rows
        assert len(rows) == call.sent or not call.is_atomic, call
        mine = {(row["id"], row["version"]) for row in rows}
        assert len(mine) == len(rows), call
        assert mine <= written.keys(), f"an acknowledged write is lost: {call}"
        for row in rows:
            change = written[row["id"], row["version"]]
            assert owners.setdefault((row["id"], row["version"]), call) is call, "a version has two winners"
            if call.match is not None:
                assert row["version"] == call.match + 1
            if call.method == "DELETE":
                assert change["action"] == "delete"
                continue
            assert change["after"][columns["Note"]] == call.mark
            for name, value in row.get("fields", {}).items():
                assert change["after"][columns[name]] == value, (call, change)
        # All of a call is one operation in one transaction, and no other's.
        assert len({(written[one]["operation_id"], written[one]["xid"]) for one in mine}) <= 1, call
        for one in mine:
            assert operations.setdefault(written[one]["operation_id"], call) is call
    assert owners.keys() == written.keys(), "something was written that nobody was told of"

    created = [row for row in changes if row["action"] == "create"]
    marks = Counter(row["after"][columns["Note"]] for row in created)
    said = {
        call.mark: sum(row["version"] == 1 for row in call.answer.rows)
        for call in calls
        if call.answer is not None and call.method == "POST"
    }
    assert marks == Counter({mark: count for mark, count in said.items() if count})


async def _peopled(world: World) -> tuple[Base, list[dict[str, str]]]:
    base = await world.tenant()
    await base.add_table("Tasks", FIELDS)
    return base, [(await base.token()).headers for _ in range(2)]


def _shared(changes: list[dict[str, Any]]) -> int:
    """How many transactions have done more than one call."""
    together = defaultdict(set)
    for row in changes:
        together[row["xid"]].add(row["operation_id"])
    return sum(len(operations) > 1 for operations in together.values())


def _table(base: Base) -> str:
    return names.table(base.tenant_id, str(base.tables["Tasks"].id))


async def _state(servers: Servers, base: Base) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The records by id, and all changes."""
    async with servers.databases.administer("data") as conn:
        rows = await conn.fetch(f"select id, to_jsonb(r)::text as now from {_table(base)} r")
        changes = await conn.fetch(
            "select record_id, version, action, operation_id, token_id, xid::text, before::text, after::text"
            " from platform.changes where tenant_id = $1 order by record_id, version, seq",
            base.tenant_id,
        )
    read = [
        dict(row) | {side: json.loads(row[side] or "null") for side in ("before", "after")} for row in changes
    ]
    return {row["id"]: json.loads(row["now"]) for row in rows}, read
