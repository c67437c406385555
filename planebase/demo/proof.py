"""The proof: a client's own log against records, change rows, activity, ledger and deliveries, id by id."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from core.ids import is_ulid
from planebase.demo.journal import Log


@dataclass
class Check:
    """One comparison: what was compared, how many, and the first few differences."""

    what: str
    count: int = 0
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to compare."""
        return self.count == 0 and not self.wrong

    @property
    def holds(self) -> bool:
        """Whether something was compared and nothing differed."""
        return self.count > 0 and not self.wrong

    def differs(self, text: str) -> None:
        """Note a difference; the first ones are shown."""
        self.wrong.append(text)


@dataclass(frozen=True)
class Received:
    """What arrived at the receivers; `mails` is None where another mail server than the sandbox got them."""

    calls: list[dict[str, Any]]
    mails: list[dict[str, Any]] | None


async def prove(log: Log, databases: dict[str, Any], received: Received) -> list[Check]:
    """Compare one run's log with the databases (owner DSNs of `status --json`) and with what was received."""
    data = await asyncpg.connect(next(iter(databases["data"].values())))
    activity = await asyncpg.connect(databases["activity"])
    control = await asyncpg.connect(databases["control"])
    alarms = await asyncpg.connect(databases["alarms"])
    try:
        tables = log.run.get("tables", {})
        changes = await _changes(data, list(tables))
        tenants = log.run.get("tenants", [])
        ours, others = _parted(log, changes)
        checks = [
            await _records(data, log, tables, others),
            _change_rows(log, ours),
            await _events(activity, changes),
            await _usage(control, changes, tenants),
            await _ledger(control, tenants),
            await _webhooks(alarms, tenants, received.calls),
        ]
        if received.mails is not None:
            checks.append(await _mails(alarms, tenants, received.mails))
        return checks
    finally:
        for conn in (data, activity, control, alarms):
            await conn.close()


async def _changes(data: asyncpg.Connection, tables: list[str]) -> list[asyncpg.Record]:
    return await data.fetch(
        "select tenant_id, table_id, record_id, version, action, operation_id, changed_at from platform.changes"
        " where table_id = any($1::text[])",
        tables,
    )


def _parted(log: Log, changes: list[asyncpg.Record]) -> tuple[list[asyncpg.Record], list[asyncpg.Record]]:
    """A run's own changes, and what came after its end: it had every answer by then, so that others made it."""
    if "ended_at" not in log.run:
        return changes, []
    ended_at = datetime.fromisoformat(log.run["ended_at"])
    ours = [row for row in changes if row["changed_at"] <= ended_at]
    return ours, [row for row in changes if row["changed_at"] > ended_at]


async def _records(
    data: asyncpg.Connection, log: Log, tables: dict[str, Any], others: list[asyncpg.Record]
) -> Check:
    check = Check("records equal the client's log, field by field")
    not_ours = {row["record_id"] for row in others}
    if not_ours:
        check.notes.append(
            f"{len(not_ours)} records were written by others after that run, and are left out of its comparison"
        )
    expected = {key: item for key, item in log.last().items() if item.action != "delete"}
    open_rows = sum(len(line["json"].get("records", [0])) for line in log.unanswered if _creates(line))
    unheard = json.dumps([line for line in log.unanswered if not _creates(line)])

    def is_open(record_id: str) -> bool:
        """Whether the client cannot know the record: it never heard how its call ended, or others wrote it."""
        return record_id in not_ours or record_id in unheard

    for table_id, names in tables.items():
        columns = {f"f_{field_id}": name for name, field_id in names["fields"].items()}
        rows = await data.fetch(
            f'select id, version, to_jsonb(t) as row from "tenant_{names["tenant"]}"."t_{table_id}" t'  # noqa: S608
        )
        found = {row["id"]: row for row in rows}
        wanted = {record_id: item for (table, record_id), item in expected.items() if table == table_id}
        check.count += len(wanted)
        for record_id, item in wanted.items():
            row = found.get(record_id)
            if is_open(record_id):
                continue
            if row is None or row["version"] != item.version:
                check.differs(
                    f"record {record_id}: the client has version {item.version}, the table {row and row['version']}"
                )
            else:
                stored = json.loads(row["row"])
                values = {name: stored[column] for column, name in columns.items()}
                if not _same(values, item.fields or {}):
                    check.differs(f"record {record_id}: other values than acknowledged")
        strangers = [record_id for record_id in set(found) - set(wanted) if not is_open(record_id)]
        if len(strangers) > open_rows:
            check.differs(
                f"{len(strangers)} records are there that the client never heard of: {strangers[0]} …"
            )
    return check


def _creates(line: dict[str, Any]) -> bool:
    return bool(line["method"] == "POST" and line["path"].endswith("/records"))


def _same(stored: dict[str, Any], acknowledged: dict[str, Any]) -> bool:
    return stored == acknowledged


def _change_rows(log: Log, changes: list[asyncpg.Record]) -> Check:
    check = Check("each acknowledged version has one change row, and nothing else does")
    rows = Counter((row["table_id"], row["record_id"], row["version"], row["action"]) for row in changes)
    acknowledged = {(item.table_id, item.record_id, item.version, item.action) for item in log.written}
    check.count = len(acknowledged)
    for key in acknowledged:
        if rows[key] != 1:
            check.differs(f"{key[3]} of {key[1]} version {key[2]}: {rows[key]} change rows")
    if not log.unanswered:
        for key in rows.keys() - acknowledged:
            check.differs(f"{key[3]} of {key[1]} version {key[2]} was never acknowledged")
    return check


async def _events(activity: asyncpg.Connection, changes: list[asyncpg.Record]) -> Check:
    check = Check("each change row is one activity event")
    tenants = list({row["tenant_id"] for row in changes})
    events = await activity.fetch(
        "select resource_id, version, action, operation_id from activity.resource_events"
        " where tenant_id = any($1::text[]) and resource_type = 'record'",
        tenants,
    )
    have = Counter((e["resource_id"], e["version"], e["action"], e["operation_id"]) for e in events)
    want = Counter(
        (c["record_id"], c["version"], f"RECORD_{c['action'].upper()}", c["operation_id"]) for c in changes
    )
    check.count = sum(want.values())
    for key in (have - want) + (want - have):
        check.differs(f"{key[2]} of {key[0]} version {key[1]}: {have[key]} events for {want[key]} changes")
    return check


async def _usage(control: asyncpg.Connection, changes: list[asyncpg.Record], tenants: list[str]) -> Check:
    check = Check("runs counted equal change rows, by tenant")
    rows = await control.fetch(
        "select tenant_id, sum(quantity)::bigint as runs from control.usage_events"
        " where meter = 'runs' and tenant_id = any($1::text[]) group by 1",
        tenants,
    )
    have = {row["tenant_id"]: row["runs"] for row in rows}
    want = Counter(row["tenant_id"] for row in changes)
    check.count = sum(want.values())
    for tenant in want.keys() | have.keys():
        if have.get(tenant, 0) != want[tenant]:
            check.differs(
                f"tenant {tenant}: {have.get(tenant, 0)} runs counted, {want[tenant]} changes written"
            )
    return check


async def _ledger(control: asyncpg.Connection, tenants: list[str]) -> Check:
    check = Check("each balance is the sum of its ledger, and each top-up and debit stands once")
    wallets = await control.fetch(
        "select w.id, w.balance_cents, coalesce(sum(l.amount_cents), 0)::bigint as total, count(l.id) as entries,"
        " count(distinct l.ref) as refs from control.wallets w left join control.wallet_ledger l on l.wallet_id = w.id"
        " where w.tenant_id = any($1::text[]) group by 1, 2",
        tenants,
    )
    for row in wallets:
        check.count += row["entries"]
        if row["balance_cents"] != row["total"] or row["entries"] != row["refs"]:
            check.differs(f"wallet {row['id']}: balance {row['balance_cents']}, ledger {row['total']}")
    billed = await control.fetch(
        "select u.tenant_id, p.monthly_runs, p.run_price_cents_per_1000 as price, sum(u.runs_billed)::bigint as billed,"
        " (select coalesce(-sum(l.runs_delta), 0)::bigint from control.wallet_ledger l"
        "   where l.wallet_id = w.id and l.type = 'debit') as runs,"
        " (select coalesce(-sum(l.amount_cents), 0)::bigint from control.wallet_ledger l"
        "   where l.wallet_id = w.id and l.type = 'debit') as cents"
        " from control.usage_counters u join control.wallets w on w.tenant_id = u.tenant_id"
        " join control.subscriptions s on s.tenant_id = u.tenant_id and s.status <> 'canceled'"
        " join control.plans p on p.id = s.plan_id where u.tenant_id = any($1::text[]) group by 1, 2, 3, w.id",
        tenants,
    )
    for row in billed:
        over = max(row["billed"] - row["monthly_runs"], 0)
        if (row["runs"], row["cents"]) != (over, over * row["price"] // 1000):
            check.differs(
                f"tenant {row['tenant_id']}: {row['runs']} runs debited for {row['cents']} cents, {over} are due"
            )
    paid = await control.fetch(
        "select r.id, r.state, r.amount_cents, l.amount_cents as posted from control.refills r"
        " join control.wallets w on w.id = r.wallet_id"
        " left join control.wallet_ledger l on l.wallet_id = r.wallet_id and l.ref = 'refill/' || r.id"
        " where w.tenant_id = any($1::text[])",
        tenants,
    )
    for row in paid:
        if (row["amount_cents"] if row["state"] == "paid" else None) != row["posted"]:
            check.differs(
                f"refill {row['id']} is {row['state']}, and {row['posted']} cents stand in the ledger"
            )
    return check


async def _webhooks(alarms: asyncpg.Connection, tenants: list[str], calls: list[dict[str, Any]]) -> Check:
    check = Check("each webhook notification that says sent was accepted under its one webhook-id")
    accepted = [(call["webhook_id"], None) for call in calls if call["status"] == 200]
    rows = _of(tenants, await _notifications(alarms, "webhook"))
    _delivered(check, rows, accepted)
    for webhook_id, _ in accepted:
        if webhook_id not in rows:
            check.differs(f"the receiver accepted {webhook_id}, which is no notification to it")
    return check


async def _mails(alarms: asyncpg.Connection, tenants: list[str], mails: list[dict[str, Any]]) -> Check:
    check = Check("each e-mail notification that says sent arrived at its address under its one Message-ID")
    rows = await _notifications(alarms, "email")
    arrived = [(mail["message_id"].strip("<>").rpartition("@")[0], mail["to"]) for mail in mails]
    _delivered(check, _of(tenants, rows), arrived)
    for message_id, _ in arrived:
        # Anybody may mail the sandbox by hand; such an id only the platform gives.
        if is_ulid(message_id) and message_id not in rows:
            check.differs(f"a mail arrived under {message_id}, which is no notification")
    return check


async def _notifications(alarms: asyncpg.Connection, channel: str) -> dict[str, asyncpg.Record]:
    rows = await alarms.fetch(
        'select id, tenant_id, "to", status from alarms.notifications where channel = $1', channel
    )
    return {row["id"]: row for row in rows}


def _of(tenants: list[str], rows: dict[str, asyncpg.Record]) -> dict[str, asyncpg.Record]:
    return {key: row for key, row in rows.items() if row["tenant_id"] in tenants}


def _delivered(
    check: Check, rows: dict[str, asyncpg.Record], arrivals: Sequence[tuple[str, str | None]]
) -> None:
    """Each row that says sent arrived, and no other; an arrival is an id, with an address where that is known."""
    times = Counter(key for key, _ in arrivals)
    check.count = len(rows)
    for key, row in rows.items():
        if (row["status"] == "sent") != (times[key] > 0):
            check.differs(f"notification {key} is {row['status']} and arrived {times[key]} times")
        elif times[key] > 1:
            # No receiver can be told and the row written in one step; by the id it knows the second for the first.
            check.notes.append(
                f"{key} came {times[key]} times under its one id: a kill came before the first was noted"
            )
    for key, to in arrivals:
        if key in rows and to not in (None, rows[key]["to"]):
            check.differs(f"notification {key} went to {to}, not to {rows[key]['to']}")
