"""The proof finds what is lost, what came twice and what is a stranger, and says when nothing was compared."""

import io
import json
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from rich.console import Console

from core.ids import Ulid, new
from planebase.demo import journal, proof, show
from planebase.demo.proof import Check
from planebase.demo.run import prove_runs
from planebase.sandbox.mail import Mailbox
from tests import seeds
from tests.conftest import Databases

TO = "operations@example.com"


@pytest.fixture
async def alarms(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    async with databases.own("alarms") as conn:
        yield conn


async def notification(alarms: asyncpg.Connection, tenant: Ulid, channel: str, status: str = "sent") -> Ulid:
    alert, made = new(), new()
    await alarms.execute(
        "insert into alarms.alerts (id, tenant_id, kind, severity, dedupe_key, first_seen_at, last_seen_at)"
        " values ($1, $2, 'RATE_LIMIT', 'warning', $3, now(), now())",
        alert,
        tenant,
        str(alert),
    )
    await alarms.execute(
        'insert into alarms.notifications (id, alert_id, tenant_id, channel, "to", status)'
        " values ($1, $2, $3, $4, $5, $6)",
        made,
        alert,
        tenant,
        channel,
        TO,
        status,
    )
    return made


def mail(folder: Path, notification_id: str, to: str = TO) -> list[dict[str, Any]]:
    """One more mail as the sandbox takes it, and all that are there."""
    message = EmailMessage()
    message["X-Rcpt-To"], message["Message-ID"] = to, f"<{notification_id}@localhost>"
    message.set_content("There")
    mailbox = Mailbox(folder)
    mailbox.keep(message.as_bytes())
    return list(mailbox.every())


async def test_a_mail_for_each_notification_that_says_sent_holds(
    alarms: asyncpg.Connection, tmp_path: Path
) -> None:
    tenant = new()
    sent = await notification(alarms, tenant, "email")
    await notification(alarms, tenant, "email", "pending")
    of_another_run = await notification(alarms, new(), "email")
    mail(tmp_path, of_another_run)
    mail(tmp_path, "by-hand")
    check = await proof._mails(alarms, [tenant], mail(tmp_path, sent))
    assert (check.holds, check.count, check.wrong, check.notes) == (True, 2, [], [])


async def test_a_lost_a_strange_and_a_misled_mail_are_found(
    alarms: asyncpg.Connection, tmp_path: Path
) -> None:
    tenant, stranger = new(), new()
    lost = await notification(alarms, tenant, "email")
    early = await notification(alarms, tenant, "email", "pending")
    misled = await notification(alarms, tenant, "email")
    mail(tmp_path, early)
    mail(tmp_path, stranger)
    check = await proof._mails(alarms, [tenant], mail(tmp_path, misled, to="other@example.com"))
    assert not check.holds
    assert sorted(check.wrong) == sorted(
        [
            f"notification {lost} is sent and arrived 0 times",
            f"notification {early} is pending and arrived 1 times",
            f"notification {misled} went to other@example.com, not to {TO}",
            f"a mail arrived under {stranger}, which is no notification",
        ]
    )


async def test_what_came_twice_under_its_one_id_is_told(alarms: asyncpg.Connection, tmp_path: Path) -> None:
    tenant = new()
    twice = await notification(alarms, tenant, "email")
    mail(tmp_path, twice)
    check = await proof._mails(alarms, [tenant], mail(tmp_path, twice))
    assert check.holds
    assert [note.split(":")[0] for note in check.notes] == [f"{twice} came 2 times under its one id"]


async def test_a_webhook_of_another_tenant_is_a_stranger(alarms: asyncpg.Connection) -> None:
    tenant = new()
    sent, foreign = (
        await notification(alarms, tenant, "webhook"),
        await notification(alarms, new(), "webhook"),
    )
    calls = [{"webhook_id": sent, "status": 503}, {"webhook_id": sent, "status": 200}]
    assert (await proof._webhooks(alarms, [tenant], calls)).holds
    calls.append({"webhook_id": foreign, "status": 200})
    assert (await proof._webhooks(alarms, [tenant], calls)).wrong


async def test_a_run_that_was_killed_at_once_has_nothing_to_compare_and_proves_nothing(
    databases: Databases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owners = {name: databases.owner(name) for name in ("control", "audit", "activity", "alarms", "data")}
    status = {"data_dir": str(tmp_path), "databases": {**owners, "data": {"local": owners["data"]}}}
    assert await prove_runs(status) == 1
    log = tmp_path / "demo" / "a-run" / "client.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps({"kind": "know", "started_at": "2030-01-01T00:00:00Z", "keeps_mail": True}))
    assert await prove_runs(status) == 1
    said = capsys.readouterr().out
    assert "a-run: nothing to compare yet" in said
    assert "NO" not in said


async def write(databases: Databases, tenant: seeds.Tenant) -> Ulid:
    """Make a record as any client does, and return its id."""
    record = new()
    async with databases.own("data") as conn:
        await conn.execute(
            f'insert into {tenant.table} (id, "f_{tenant.field_id}") values ($1, $2)', record, "a"
        )
    return record


async def test_what_others_write_after_a_run_is_told_and_what_it_wrote_itself_is_still_compared(
    databases: Databases, tmp_path: Path
) -> None:
    tenant = await seeds.tenant(databases, with_table=True)
    ours = await write(databases, tenant)
    async with databases.own("data") as conn:
        (operation,) = await conn.fetchrow(
            "select operation_id from platform.changes where record_id = $1", ours
        )
        ended_at = await conn.fetchval("select clock_timestamp()")
    tables = {tenant.table_id: {"tenant": tenant.id, "fields": {"Name": tenant.field_id}}}
    item = {"table_id": tenant.table_id, "record_id": ours, "version": 1, "action": "create"}
    item |= {"fields": {"Name": "a"}, "operation_id": operation}
    lines: list[dict[str, Any]] = [
        {"kind": "know", "tables": tables, "ended_at": ended_at.isoformat()},
        {"kind": "send", "key": "1", "method": "POST", "path": "/records", "json": {}},
        {"kind": "answer", "key": "1", "status": 201, "written": [item]},
    ]

    async def compared() -> tuple[Check, Check]:
        path = tmp_path / "client.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        log = journal.read(path)
        async with databases.own("data") as conn:
            mine, others = proof._parted(log, await proof._changes(conn, [tenant.table_id]))
            return await proof._records(conn, log, tables, others), proof._change_rows(log, mine)

    assert [(check.holds, check.notes) for check in await compared()] == [(True, []), (True, [])]
    await write(databases, tenant)
    records, changes = await compared()
    assert records.holds
    assert changes.holds
    assert records.notes == [
        "1 records were written by others after that run, and are left out of its comparison"
    ]
    # What is lost of its own is found, and so is a stranger from before its end.
    async with databases.own("data") as conn:
        await conn.execute(f"alter table {tenant.table} disable trigger all")
        await conn.execute(f"delete from {tenant.table} where id = $1", ours)
    assert not (await compared())[0].holds
    lines[0] |= {"ended_at": "2100-01-01T00:00:00+00:00"}
    assert [check.holds for check in await compared()] == [False, False]


@pytest.mark.parametrize(("is_complete", "word"), [(True, "NO"), (False, "nothing to compare yet")])
def test_nothing_to_compare_is_a_fault_only_after_a_run_that_ended(is_complete: bool, word: str) -> None:
    out = io.StringIO()
    wrong = Check("that", wrong=[f"notification {new()} is gone, and so is {new()}" for _ in range(5)])
    shown = show.Show(None, Console(file=out, width=60))
    shown.proof([Check("this"), wrong], is_complete=is_complete)
    assert word in next(line for line in out.getvalue().splitlines() if "this" in line)
    for line in wrong.wrong[:3]:
        assert line in out.getvalue()
    assert "2 more differences" in out.getvalue()
