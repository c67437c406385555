"""The change log as the relay reads it: whole transactions below the watermark, ordered by number."""

from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from core.ids import Ulid, derived
from core.metering import runs_event_id

_CURSOR = "relay"


@dataclass(frozen=True, order=True)
class Cursor:
    """How far the log was read: everything up to and including this row."""

    xid: int
    seq: int


START = Cursor(0, 0)


@dataclass(frozen=True)
class Event:
    """One change as the Activity DB takes it: `row` is JSON text without the id."""

    id: Ulid
    row: str


@dataclass(frozen=True)
class Written:
    """What one call wrote in a transaction: the records that its tenant is charged for."""

    id: Ulid
    tenant_id: Ulid
    records: int
    window_start: datetime
    operation_id: Ulid | None


@dataclass(frozen=True)
class Batch:
    """Changes to be carried, and the cursor once they have arrived."""

    events: list[Event]
    written: list[Written]
    cursor: Cursor
    lag_s: float
    is_drained: bool


async def try_lock(conn: asyncpg.Connection) -> bool:
    """Become this database's one relay, until the connection closes; False while another one is."""
    return bool(await conn.fetchval("select pg_try_advisory_lock(hashtext('planebase'), hashtext('relay'))"))


async def cursor(conn: asyncpg.Connection) -> Cursor:
    """Return how far the relay has come."""
    row = await conn.fetchrow("select xid::text, seq from platform.relay_cursors where name = $1", _CURSOR)
    return START if row is None else Cursor(int(row["xid"]), row["seq"])


async def move(conn: asyncpg.Connection, to: Cursor) -> None:
    """Note that everything up to `to` has arrived; a cursor never goes back."""
    await conn.execute(
        """insert into platform.relay_cursors as c (name, xid, seq) values ($1, $2::text::xid8, $3)
           on conflict (name) do update set xid = excluded.xid, seq = excluded.seq, updated_at = now()
            where (c.xid, c.seq) < (excluded.xid, excluded.seq)""",
        _CURSOR,
        str(to.xid),
        to.seq,
    )


# The index gives the order, and a row is made into an event when it is fetched. Rows that another cluster wrote
# came with a moved tenant and were relayed at home: they move the cursor and nothing else.
_TAKE = """
select c.xid::text, c.seq, c.tenant_id, c.generation, c.origin, c.changed_at, c.operation_id,
       c.origin = i.cluster_id as is_ours,
       case when c.origin = i.cluster_id then jsonb_build_object(
         'occurred_at', c.changed_at,
         'tenant_id', c.tenant_id, 'workspace_id', c.workspace_id, 'base_id', c.base_id,
         'actor_user_id', c.actor_id, 'actor_token_id', c.token_id, 'operation_id', c.operation_id,
         'resource_type', 'record', 'resource_id', c.record_id, 'version', c.version,
         'action', 'RECORD_' || upper(c.action),
         'diff_json', (
           select coalesce(jsonb_object_agg(substr(key, 3), case c.action
                    when 'create' then jsonb_build_object('after', a.value)
                    when 'restore' then jsonb_build_object('after', a.value)
                    when 'delete' then jsonb_build_object('before', b.value)
                    else jsonb_build_object('before', b.value, 'after', a.value) end), '{}')
             from jsonb_each(c.after) a full join jsonb_each(c.before) b using (key)
            where starts_with(key, 'f_')
              and coalesce(a.value, 'null') is distinct from coalesce(b.value, 'null'))
       )::text end as event
  from platform.changes c, platform.identity i
 where (c.xid, c.seq) > ($1::text::xid8, $2::bigint) and c.xid < pg_snapshot_xmin(pg_current_snapshot())
 order by c.xid, c.seq limit $3
"""
# A record may be megabytes, and small in the table only because it is compressed: what was fetched is counted.
_FETCH_ROWS = 16


async def take(conn: asyncpg.Connection, after: Cursor, max_rows: int, max_bytes: int) -> Batch:
    """Return the next changes: whole transactions, or pages of one that alone is over a bound."""
    # First, so that the cursor can go up to it once every row below has been read.
    watermark = int(await conn.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text"))
    rows, fit = await _fetch(conn, after, max_rows, max_bytes)
    kept = rows[:fit]
    if fit < len(rows):
        cut = rows[fit]["xid"]
        whole = [row for row in kept if row["xid"] != cut]
        kept = whole or kept
    if not kept:
        return Batch([], [], after, 0.0, is_drained=True)
    is_drained = fit == len(rows)
    last = Cursor(int(kept[-1]["xid"]), kept[-1]["seq"])
    return Batch(
        [_event(row) for row in kept if row["is_ours"]],
        await _written(conn, kept, partial={str(after.xid)} | _tail(rows, kept)),
        max(last, Cursor(watermark, 0)) if is_drained else last,
        (datetime.now(UTC) - kept[-1]["changed_at"]).total_seconds(),
        is_drained,
    )


async def held_back_s(conn: asyncpg.Connection, after: Cursor) -> float:
    """Return for how long the oldest committed but untaken change has waited for the watermark."""
    age = await conn.fetchval(
        """select extract(epoch from clock_timestamp() - changed_at)::float8 from platform.changes
            where (xid, seq) > ($1::text::xid8, $2::bigint) order by xid, seq limit 1""",
        str(after.xid),
        after.seq,
    )
    return float(age or 0.0)


async def _fetch(
    conn: asyncpg.Connection, after: Cursor, max_rows: int, max_bytes: int
) -> tuple[list[asyncpg.Record], int]:
    """Fetch until a bound is reached; returns the rows and how many of them fit, the first one always."""
    rows: list[asyncpg.Record] = []
    size = 0
    async with conn.transaction(readonly=True):
        found = await conn.cursor(_TAKE, str(after.xid), after.seq, max_rows + 1)
        while more := await found.fetch(_FETCH_ROWS):
            for row in more:
                size += len(row["event"] or "")
                if len(rows) == max_rows or (rows and size > max_bytes):
                    return [*rows, row], len(rows)
                rows.append(row)
    return rows, len(rows)


def _tail(rows: list[asyncpg.Record], kept: list[asyncpg.Record]) -> set[str]:
    """Return the transaction that goes on after the page, if one does."""
    return {kept[-1]["xid"]} & {row["xid"] for row in rows[len(kept) : len(kept) + 1]}


def _event(row: asyncpg.Record) -> Event:
    at_ms = int(row["changed_at"].timestamp() * 1000)
    place = (row["origin"], str(row["generation"]), row["xid"], str(row["seq"]))
    return Event(derived(at_ms, *place), row["event"])


async def _written(conn: asyncpg.Connection, rows: list[asyncpg.Record], partial: set[str]) -> list[Written]:
    """Count each call's part of a transaction as a whole, also where only a page was taken: its id is counted once."""
    counts: dict[tuple[str, str, str | None], int] = {}
    first: dict[tuple[str, str, str | None], asyncpg.Record] = {}
    for row in rows:
        if row["is_ours"]:
            key = (row["xid"], row["tenant_id"], row["operation_id"])
            counts[key] = counts.get(key, 0) + 1
            first.setdefault(key, row)
    for xid in partial & {xid for xid, _, _ in counts}:
        for row in await conn.fetch(
            """select tenant_id, operation_id, count(*) as records from platform.changes
                where xid = $1::text::xid8 and origin = (select cluster_id from platform.identity)
                group by tenant_id, operation_id""",
            xid,
        ):
            key = (xid, row["tenant_id"], row["operation_id"])
            if key in counts:
                counts[key] = row["records"]
    found = []
    for (xid, tenant_id, operation), row in first.items():
        operation_id = None if operation is None else Ulid(operation)
        place = (row["changed_at"], row["origin"], row["generation"], int(xid), Ulid(tenant_id), operation_id)
        minute = row["changed_at"].replace(second=0, microsecond=0)
        found.append(
            Written(
                runs_event_id(*place),
                Ulid(tenant_id),
                counts[xid, tenant_id, operation],
                minute,
                operation_id,
            )
        )
    return found
