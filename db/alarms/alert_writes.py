"""Writing alerts: opened, seen again, ended, and told to whoever listens; one transaction for all of it."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text

from core import alert
from core.alert import Change, Kind, Live, Observation
from core.ids import Ulid, new
from db.sessions import AlarmsSession

_INAPP = "portal"
_LISTENERS_MAX = 200


@dataclass(frozen=True)
class Tenants:
    """One tenant's changes, to be made together."""

    tenant_id: Ulid | None
    changes: Sequence[Change]


async def live(
    session: AlarmsSession, tenant_ids: Sequence[Ulid], kinds: Collection[Kind]
) -> dict[Ulid, list[Live]]:
    """Return the live alerts of some tenants, which nobody else changes before this transaction ends."""
    rows = await session.execute(
        text("""
            select id, tenant_id, kind, severity, status, dedupe_key from alarms.alerts
             where tenant_id = any(cast(:ids as text[])) and status in ('open', 'ack')
               and kind = any(cast(:kinds as text[])) order by id for update"""),
        {"ids": list(tenant_ids), "kinds": sorted(kinds)},
    )
    found: dict[Ulid, list[Live]] = {}
    for row in rows:
        found.setdefault(row.tenant_id, []).append(_live(row))
    return found


async def apply(
    session: AlarmsSession, every: Iterable[Tenants], at: datetime, operation_id: Ulid
) -> dict[str, int]:
    """Make the changes and write the notifications of what is news; returns how many of each.

    Repeating it changes nothing: what was opened is seen, and what was told is not told again.
    """
    done = {"opened": 0, "worsened": 0, "seen": 0, "resolved": 0}
    seen: list[Change] = []
    for tenant in every:
        for change in tenant.changes:
            if change.do == "open":
                done["opened"] += await _open(session, tenant.tenant_id, change, at, operation_id)
            elif change.do == "see":
                seen.append(change)
                if change.is_news and change.live and change.seen:
                    await _tell(session, tenant.tenant_id, change.live.id, change.seen, operation_id)
                    done["worsened"] += 1
    await _see(session, seen, at)
    done["seen"] = len(seen)
    ended = [c.live.id for tenant in every for c in tenant.changes if c.do == "resolve" and c.live]
    await _resolve(session, ended, at)
    done["resolved"] = len(ended)
    return done


async def observe(
    session: AlarmsSession,
    tenant_id: Ulid | None,
    seen: Observation,
    at: datetime,
    operation_id: Ulid,
    *,
    not_to: Ulid | None = None,
) -> Ulid:
    """Open the alert of one observation, or see it again; returns its id. `not_to` is a channel not to tell."""
    for _ in range(3):
        row = await _live_one(session, tenant_id, seen.dedupe_key)
        change = alert.decide_one(row, seen)
        if change.live is not None:
            if change.is_news:
                await _tell(session, tenant_id, change.live.id, seen, operation_id, not_to)
            await _see(session, [change], at)
            return change.live.id
        made = await _insert(session, tenant_id, seen, at, operation_id)
        if made is not None:
            await _tell(session, tenant_id, made, seen, operation_id, not_to)
            return made
    raise RuntimeError(f"alert {seen.dedupe_key} opened and ended under our hands")


async def resolve(session: AlarmsSession, tenant_id: Ulid | None, dedupe_key: str, at: datetime) -> bool:
    """End the live alert of a key; False when there is none."""
    row = await _live_one(session, tenant_id, dedupe_key)
    if row is not None:
        await _resolve(session, [row.id], at)
    return row is not None


async def _live_one(session: AlarmsSession, tenant_id: Ulid | None, dedupe_key: str) -> Live | None:
    row = (
        await session.execute(
            text("""
                select id, kind, severity, status, dedupe_key from alarms.alerts
                 where tenant_id is not distinct from cast(:tenant_id as text) and dedupe_key = :key
                   and status in ('open', 'ack') for update"""),
            {"tenant_id": tenant_id, "key": dedupe_key},
        )
    ).one_or_none()
    return None if row is None else _live(row)


async def _open(
    session: AlarmsSession, tenant_id: Ulid | None, change: Change, at: datetime, operation_id: Ulid
) -> int:
    if change.seen is None:
        return 0
    made = await _insert(session, tenant_id, change.seen, at, operation_id)
    if made is None:  # somebody else has opened it since the live ones were read
        await observe(session, tenant_id, change.seen, at, operation_id)
        return 0
    await _tell(session, tenant_id, made, change.seen, operation_id)
    return 1


async def _insert(
    session: AlarmsSession, tenant_id: Ulid | None, seen: Observation, at: datetime, operation_id: Ulid
) -> Ulid | None:
    made: Ulid | None = await session.scalar(
        text("""
            insert into alarms.alerts (id, tenant_id, kind, severity, dedupe_key, first_seen_at, last_seen_at,
                                       operation_id, context_json)
            values (:id, :tenant_id, :kind, :severity, :key, :at, :at, :operation_id, cast(:context as jsonb))
            on conflict (tenant_id, dedupe_key) where status in ('open', 'ack') do nothing returning id"""),
        {
            "id": new(),
            "tenant_id": tenant_id,
            "kind": seen.kind,
            "severity": seen.severity,
            "key": seen.dedupe_key,
            "at": at,
            "operation_id": operation_id,
            "context": json.dumps(seen.context),
        },
    )
    return made


async def _see(session: AlarmsSession, changes: Sequence[Change], at: datetime) -> None:
    pairs = [(change, change.live, change.seen) for change in changes if change.live and change.seen]
    if not pairs:
        return
    await session.execute(
        text("""
            update alarms.alerts a
               set severity = s.severity, status = s.status, context_json = s.context,
                   acked_by = case when s.status = 'open' then null else a.acked_by end,
                   times_seen = a.times_seen + case when a.last_seen_at < :at then 1 else 0 end,
                   last_seen_at = greatest(a.last_seen_at, :at), updated_at = now()
              from unnest(cast(:ids as text[]), cast(:severities as text[]), cast(:statuses as text[]),
                          cast(:contexts as jsonb[])) as s (id, severity, status, context)
             where a.id = s.id"""),
        {
            "at": at,
            "ids": [row.id for _, row, _ in pairs],
            "severities": [seen.severity for _, _, seen in pairs],
            "statuses": [alert.status_after(change) for change, _, _ in pairs],
            "contexts": [json.dumps(seen.context) for _, _, seen in pairs],
        },
    )


async def _resolve(session: AlarmsSession, alert_ids: Sequence[Ulid], at: datetime) -> None:
    if alert_ids:
        await session.execute(
            text("""
                update alarms.alerts set status = 'resolved', resolved_at = :at, updated_at = now()
                 where id = any(cast(:ids as text[])) and status in ('open', 'ack')"""),
            {"at": at, "ids": list(alert_ids)},
        )


async def _tell(
    session: AlarmsSession,
    tenant_id: Ulid | None,
    alert_id: Ulid,
    seen: Observation,
    operation_id: Ulid,
    not_to: Ulid | None = None,
) -> None:
    """Write one notification per listener; the one in the portal is delivered by being there."""
    channels = await session.execute(
        text("""
            select id, channel, "to", min_severity from alarms.channels
             where tenant_id is not distinct from cast(:tenant_id as text) and status = 'active'
             order by id limit :max"""),
        {"tenant_id": tenant_id, "max": _LISTENERS_MAX},
    )
    listeners: list[tuple[Ulid | None, str, str]] = [(None, "inapp", _INAPP)]
    listeners += [
        (row.id, row.channel, row.to)
        for row in channels
        if row.id != not_to and alert.hears(row.min_severity, seen.severity)
    ]
    await session.execute(
        text("""
            insert into alarms.notifications
                   (id, alert_id, tenant_id, channel_id, channel, "to", generation, status, sent_at, operation_id)
            select l.id, cast(:alert_id as text), :tenant_id, l.channel_id, l.channel, l."to",
                   (select coalesce(max(n.generation), 0) + 1 from alarms.notifications n
                     where n.alert_id = cast(:alert_id as text)),
                   case l.channel when 'inapp' then 'sent' else 'pending' end,
                   case l.channel when 'inapp' then now() end, :operation_id
              from unnest(cast(:ids as text[]), cast(:channel_ids as text[]), cast(:channels as text[]),
                          cast(:tos as text[])) as l (id, channel_id, channel, "to")
            on conflict do nothing"""),
        {
            "alert_id": alert_id,
            "tenant_id": tenant_id,
            "operation_id": operation_id,
            "ids": [new() for _ in listeners],
            "channel_ids": [channel_id for channel_id, _, _ in listeners],
            "channels": [channel for _, channel, _ in listeners],
            "tos": [to for _, _, to in listeners],
        },
    )


def _live(row: Row[Any]) -> Live:
    return Live(row.id, row.kind, row.severity, row.status, row.dedupe_key)
