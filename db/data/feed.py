"""A base's changes feed: every committed change once, in an order that never gains a row behind a reader.

The order is `(generation, xid, seq)`. Of the present generation only rows below the snapshot's oldest running
transaction are read: what commits later has a higher place. Older generations are complete.
"""

# ruff: noqa: S608  (the only text in here is our own)

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import asyncpg

from core.errors import Gone
from core.record import Field, Table
from db.data.catalog import Base
from db.data.homes import Claims, Home
from db.data.refusals import general
from db.data.statements import Statement, log_key

MAX_PAGE_BYTES = 4_000_000
"""A page ends here, whatever its limit; its first entry is always in it."""
MAX_SCANNED = 5_000
"""A page that is about some tables looks at so many changes of the base, and may be empty and yet not the last."""
# A value that is kept compressed is looked at before anybody knows how large it is.
_COMPRESSED_WEIGHT = 16

# What is older than a day's 23.5 hours for each day that the log is kept may soon be let go; whoever begins at the
# oldest has until then to come further.
_START, _EXPIRED = "23 hours", "23 hours 30 minutes"


class Place(NamedTuple):
    """A place in the feed: everything up to and including it was read."""

    generation: int
    xid: int
    seq: int


OLDEST = Place(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place, and when what comes after it was certainly still there: a cursor's content."""

    place: Place
    at_ms: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One change as JSON text, and its place."""

    mark: Mark
    json: str


@dataclass(frozen=True, slots=True)
class Page:
    """Changes in order, where the next page begins, and whether there is one already."""

    entries: list[Entry]
    end: Mark
    has_more: bool


_WORD = "split_part(current_setting('pb.claims'), ' ', {})"
_MINE = f"c.tenant_id = {_WORD.format(1)} and c.base_id = {_WORD.format(3)}"
# One comparison of rows, so that both ends of the range are found in the key's index: an equal generation would let
# the planner walk through all tenants' changes in the relay's.
_BELOW = "(c.generation, c.xid) < (($1 ->> 'generation')::bigint, pg_snapshot_xmin(pg_current_snapshot()))"
_AFTER = "(c.generation, c.xid, c.seq) > (($1 ->> 'g')::bigint, ($1 ->> 'x')::xid8, ($1 ->> 's')::bigint)"
_ORDER = "order by c.generation, c.xid, c.seq"
_MS = "(extract(epoch from {}) * 1000)::bigint"
# Where the log is kept for longer than it was, what was let go before does not come back. By an hour, since the order
# is not that of `changed_at`: a place after the first change that is left may be before one that is not.
_OLDEST = """(select greatest(now() - i.changes_kept_days * interval '{}', i.changes_since + interval '1 hour')
                from platform.identity i)"""
_OLD_ENOUGH = f"""c.changed_at >= case when $1 ? 'at' then '-infinity' else {_OLDEST.format(_START)} end"""


def _values(doc: str) -> str:
    """Name a row's values as the fields are called now: what has no field any more is left out."""
    return f"""case when {doc} is not null then coalesce(
                 (select json_object_agg(e.field ->> 0, d.doc -> (e.field ->> 1))
                    from (select {doc} || '{{}}' as doc offset 0) d, jsonb_array_elements($1 -> c.table_id) e(field)
                   where d.doc ? (e.field ->> 1)), '{{}}') end"""


def _weight(doc: str) -> str:
    factor = f"case when pg_column_compression({doc}) is null then 1 else {_COMPRESSED_WEIGHT} end"
    return f"coalesce(pg_column_size({doc})::bigint * {factor}, 0)"


_PLACE = "c.generation, c.xid::text, c.seq"
_ENTRY = f"""json_object('table_id' value c.table_id, 'record_id' value c.record_id, 'version' value c.version,
               'action' value c.action, 'changed_at' value c.changed_at,
               'actor' value json_object('user_id' value c.actor_id, 'token_id' value c.token_id returning json),
               'operation_id' value c.operation_id, 'schema_version' value c.schema_version,
               'before' value {_values("c.before")}, 'after' value {_values("c.after")} returning json)::text"""
_READ = Statement(
    f"""
    with scanned as materialized (
      select c.*, row_number() over ({_ORDER} rows unbounded preceding) as n
        from platform.changes c where {_MINE} and {_AFTER} and {_BELOW} and {_OLD_ENOUGH}
       {_ORDER} limit ($1 ->> 'scan')::int),
    wanted as (
      select c.*, row_number() over (order by c.n) as m,
             sum({_weight("c.before")} + {_weight("c.after")}) over (order by c.n rows unbounded preceding) as bytes
        from scanned c where $2 = '{{}}' or c.table_id = any ($2)),
    named as (
      select c.m, json_build_array({_PLACE}, {_MS.format("c.changed_at")}) as place, {_ENTRY} as entry
        from wanted c
       where c.m <= ($1 ->> 'limit')::int and (c.m = 1 or c.bytes <= {MAX_PAGE_BYTES})),
    kept as (
      select c.*, sum(octet_length(c.entry)) over (order by c.m rows unbounded preceding) as bytes from named c)
    select null::json, json_build_object(
      'expired', ($1 ->> 'at')::bigint < {_MS.format(_OLDEST.format(_EXPIRED))},
      'watermark', pg_snapshot_xmin(pg_current_snapshot())::text, 'now', {_MS.format("now()")},
      'scanned', (select count(*) from scanned),
      'last', (select json_build_array({_PLACE}, {_MS.format("c.changed_at")})
                 from scanned c order by c.n desc limit 1),
      'wanted', (select count(*) from wanted),
      'entries', coalesce((select json_agg(json_build_array(c.place, c.entry) order by c.m) from kept c
                            where c.m = 1 or c.bytes <= {MAX_PAGE_BYTES}), '[]'))""",
    keep=True,
)
_NEWEST = Statement(
    f"""select null::json, (select json_build_array({_PLACE}) from platform.changes c
                             where {_MINE} and {_BELOW}
                             order by c.generation desc, c.xid desc, c.seq desc limit 1)""",
    keep=True,
)
_LATEST = Statement(
    f"""select null::json, json_build_array(pg_snapshot_xmin(pg_current_snapshot())::text, {_MS.format("now()")})"""
)


async def read(
    home: Home,
    claims: Claims,
    base: Base,
    after: Mark | None,
    limit: int,
    tables: tuple[Table, ...] = (),
    fields: tuple[Field, ...] | None = None,
) -> Page:
    """Return the changes after a place, from the oldest without one, in some tables or in all.

    Gone where the place is too old. With `fields`, which need one table, values of no others.
    """
    place = OLDEST if after is None else after.place
    scan = MAX_SCANNED if tables else limit + 1
    given = {
        "generation": claims.generation,
        "g": place.generation,
        "x": str(place.xid),
        "s": place.seq,
        "limit": limit,
        "scan": scan,
    }
    if after is not None:
        given["at"] = after.at_ms
    members = [json.dumps(given)[1:-1]]
    if fields is not None:
        members.append(f'"{tables[0].id}": {_pairs(fields)}')
    else:
        members += [f'"{table.id}": {_names(table)}' for table in tables or base.tables.values()]
    try:
        params = ("{" + ", ".join(members) + "}").encode()
        answer = await home.read(claims, base.catalog, _READ, params, [table.id for table in tables])
    except asyncpg.PostgresError as error:
        raise general(error) or error from error
    found = json.loads(answer.hint or b"{}")
    if found["expired"] or place.generation > claims.generation:
        raise Gone("this cursor is older than the changes that are kept", code="cursor_expired")
    entries = [Entry(_mark(place), text) for place, text in found["entries"]]
    if len(entries) < found["wanted"]:
        return Page(entries, entries[-1].mark, has_more=True)
    if found["scanned"] == scan:
        return Page(entries, _mark(found["last"]), has_more=True)
    # Whatever is below the watermark was read: nothing will ever come there.
    seen = Place(claims.generation, int(found["watermark"]), 0)
    return Page(entries, Mark(max(seen, place), found["now"]), has_more=False)


async def latest(home: Home, claims: Claims) -> Mark:
    """Return the place after all that is committed: whatever commits later comes after it."""
    try:
        answer = await home.read(claims, None, _LATEST, b"{}")
    except asyncpg.PostgresError as error:
        raise general(error) or error from error
    watermark, now_ms = json.loads(answer.hint or b"[]")
    return Mark(Place(claims.generation, int(watermark), 0), now_ms)


async def newest(home: Home, claims: Claims) -> Place | None:
    """Return the place of the base's last readable change, by one step into the index."""
    params = json.dumps({"generation": claims.generation}).encode()
    try:
        answer = await home.read(claims, None, _NEWEST, params)
    except asyncpg.PostgresError as error:
        raise general(error) or error from error
    if answer.hint is None:
        return None
    generation, xid, seq = json.loads(answer.hint)
    return Place(generation, int(xid), seq)


def _mark(value: list[int | str]) -> Mark:
    generation, xid, seq, at_ms = map(int, value)
    return Mark(Place(generation, xid, seq), at_ms)


@lru_cache(1_024)
def _names(table: Table) -> str:
    return _pairs(table.recorded)


def _pairs(fields: Iterable[Field]) -> str:
    return json.dumps([[field.name, log_key(field)] for field in fields])
