"""The past of records, read from the change log: what changed by whom, and what a record or a table was at a moment.

At a moment t a record is as it was before its first change, by version, that is later than t; without such a change it
is as it is now. A change's time is when its transaction began, so a version may be a little older than the one before
it: by this rule no version is seen before all that came earlier. Nothing older than t is read, so what retention has
let go is not missed.
"""

# ruff: noqa: S608  (see statements.py)

import json
from collections.abc import Sequence
from functools import lru_cache

from core.errors import BadRequest, Fault, Gone, NotFound
from core.record import Field, Table, parse_projection
from db.data import names, records
from db.data.homes import Answer
from db.data.listing import MAX_PAGE_BYTES
from db.data.records import Call
from db.data.refusals import NO_RECORD
from db.data.statements import Statement, literal, log_key, physical, value_of
from db.data.statements import record as record_json

MAX_LOOKED_AT = 1_000
"""How many records one page of a table's past looks at; not all of them need have been there then."""
_KEPT = 256
_AT = "($1 ->> 'at')::timestamptz"
_OLDEST = """(select greatest(now() - make_interval(days => i.changes_kept_days), i.changes_since)
                from platform.identity i)"""
_CAN_BE_ASKED = f"({_AT} between {_OLDEST} and now())"
_ANSWERABLE = f"""case when {_AT} < {_OLDEST} then json_build_object('oldest', {_OLDEST})
                       when {_AT} > now() then json_build_object('future', true)"""


async def entries(call: Call, record_id: str, before: int | None, limit: int) -> Answer:
    """Return a JSON array of a record's changes, the newest first, and as the hint where the next page begins.

    The hint is `{"next": version or null, "complete": bool}`; NotFound where there neither is nor was such a record.
    """
    given = json.dumps({"limit": limit, "before": before}).encode()
    answer = await records.read(call, _entries(call.table), given, [record_id])
    if answer.hint is None:
        raise NotFound(NO_RECORD)
    return answer


async def get_as_of(call: Call, record_id: str, at: str, projection: str | None) -> Answer:
    """Return one record as it was, and its version then as the hint; NotFound where it was not there."""
    given = json.dumps({"at": at}).encode()
    answer = await records.read(call, _get_as_of(call.table, projection), given, [record_id])
    _refuse_if_out_of_range(answer)
    if answer.hint is None:
        raise NotFound("there was no such record at this time")
    return answer


async def page_as_of(call: Call, at: str, projection: str | None, after: str, limit: int) -> Answer:
    """Return a JSON array of at most `limit` records as they were, by id, and as the hint where to go on, if anywhere.

    A page may have fewer records than there are, even none, and yet a next page: what it looks at is bounded.
    """
    given = json.dumps({"at": at, "after": after, "limit": limit}).encode()
    answer = await records.read(call, _page_as_of(call.table, projection), given)
    _refuse_if_out_of_range(answer)
    return answer


def log(table: Table, alias: str = "c") -> str:
    """Return the change log's rows of a table, as what stands after FROM and WHERE."""
    tenant, table_id = names.literal(table.tenant_id), names.literal(table.id)
    return f"platform.changes {alias} where {alias}.tenant_id = {tenant} and {alias}.table_id = {table_id}"


def row(table: Table, logged: str) -> str:
    """Return the record `r` that a row of the change log holds, with the fields and types of today's table."""
    return f"jsonb_populate_record(null::{physical(table)}, {logged}) r"


def dropped(table: Table, logged: str) -> str:
    """Return the JSON array of the ids of fields that have a value in `logged` and are not in the table any more."""
    there = ", ".join(literal(log_key(f)) for f in table.recorded)
    return f"""(select coalesce(json_agg(substr(k.key, 3) order by k.key), '[]') from jsonb_each({logged}) k
                 where starts_with(k.key, 'f_') and k.value <> 'null' and k.key <> all (array[{there}]::text[]))"""


def fields_json(fields: Sequence[Field], *, past: bool = True) -> str:
    """Return the expression for the JSON of a record `r`'s fields; where `past`, of what it held itself."""
    shown = [f for f in fields if f.type.in_record] if past else fields
    values = ", ".join(f"{literal(f.name)} value {value_of(f, past=past)}" for f in shown)
    return f"json_object({values} returning json)"


@lru_cache(_KEPT)
def _entries(table: Table) -> Statement:
    stored = [f for f in table.recorded if f.type.source is None]
    differ = [
        f"case when nullif(c.before -> {key}, 'null') is distinct from nullif(c.after -> {key}, 'null')"
        f" then {literal(f.name)} end"
        for f in stored
        for key in [literal(log_key(f))]
    ]
    before, after = (
        f"case when c.{side} is not null then (select {fields_json(table.fields)} from {row(table, f'c.{side}')}) end"
        for side in ("before", "after")
    )
    held = " || ".join(f"jsonb_strip_nulls(coalesce(c.{side}, '{{}}'))" for side in ("before", "after"))
    entry = f"""json_object(
      'version' value c.version, 'action' value c.action, 'changed_at' value c.changed_at,
      'actor' value json_build_object('user_id', c.actor_id, 'token_id', c.token_id),
      'operation_id' value c.operation_id,
      'changed' value to_json(array_remove(array[{", ".join(differ)}]::text[], null)),
      'before' value {before}, 'after' value {after},
      'dropped_fields' value {dropped(table, held)} returning json)"""
    of_record = f"{log(table)} and c.record_id = $2[1]"
    fits = f"e.n <= ($1 ->> 'limit')::int and (e.n = 1 or e.bytes <= {MAX_PAGE_BYTES})"
    return Statement(
        f"""
        select coalesce(json_agg(e.j order by e.n) filter (where {fits}), '[]'),
               case when count(*) > 0 or exists (select from {physical(table)} r where r.id = $2[1])
                      or exists (select from {of_record})
                    then json_build_object(
                      'next', case when count(*) > count(*) filter (where {fits})
                                   then min(e.version) filter (where {fits}) end,
                      'complete', exists (select from {of_record} and c.version = 1)) end
          from (select e.*, sum(octet_length(e.j::text)) over (order by e.n rows unbounded preceding) as bytes
                  from (select row_number() over () as n, c.version, {entry} as j
                          from (select * from {of_record}
                                   and c.version < coalesce(($1 ->> 'before')::bigint, {2**63 - 1})
                                 order by c.version desc limit ($1 ->> 'limit')::int + 1) c) e) e"""
    )


@lru_cache(_KEPT)
def _get_as_of(table: Table, projection: str | None) -> Statement:
    state = _state(table, projection, "$2[1]")
    return Statement(
        f"""select s.j, {_ANSWERABLE} else to_json(s.version) end
              from (values (1)) one left join lateral ({state}) s on {_CAN_BE_ASKED}"""
    )


@lru_cache(_KEPT)
def _page_as_of(table: Table, projection: str | None) -> Statement:
    """Look at records in the order of their ids: those that are here, and those that were deleted since.

    Of the deletions a bounded number is read, in that order; where there are more, the page ends with the last of them.
    """
    after, limit = "$1 ->> 'after'", "($1 ->> 'limit')::int"
    fits = f"s.n <= {limit} and (s.n = 1 or s.bytes <= {MAX_PAGE_BYTES})"
    return Statement(
        f"""
        with deleted as materialized (
          select c.record_id as id from {log(table)} and c.after is null and c.changed_at > {_AT}
             and c.record_id > {after} and {_CAN_BE_ASKED}
           order by c.record_id limit {MAX_LOOKED_AT}),
        reach as materialized (
          select r.id, coalesce(r.id, 'z') as upto
            from (select case when count(*) = {MAX_LOOKED_AT} then max(d.id) end as id from deleted d) r),
        known as materialized (
          select k.id from (
            select r.id from reach m cross join lateral (
              select r.id::text collate "C" as id from {physical(table)} r
               where r.id > {after} and r.id <= m.upto and {_CAN_BE_ASKED}
               order by r.id limit {MAX_LOOKED_AT}) r
            union
            select d.id from deleted d) k
           order by k.id limit {MAX_LOOKED_AT})
        select coalesce(json_agg(s.j order by s.n) filter (where {fits}), '[]'),
               {_ANSWERABLE}
                    when count(*) > count(*) filter (where {fits})
                    then to_json(max(s.id) filter (where {fits}))
                    when (select count(*) from known) = {MAX_LOOKED_AT}
                    then (select to_json(max(k.id)) from known k)
                    else (select to_json(m.id) from reach m) end
          from (select s.*, sum(octet_length(s.j::text)) over (order by s.n rows unbounded preceding) as bytes
                  from (select row_number() over () as n, s.*
                          from (select k.id, s.j from known k cross join lateral ({_state(table, projection, "k.id")}) s
                                 order by k.id limit {limit} + 1) s) s) s""",
        # Planned without values it takes the order of the index; a guess at how many were deleted may sort them all.
        keep=True,
    )


def _state(table: Table, projection: str | None, record_id: str) -> str:
    """Return the select of a record as it was: its JSON and version, no row where it was not there."""
    shown = record_json(parse_projection(projection, table), past=True)
    return f"""
      with later as (select c.before from {log(table)} and c.record_id = {record_id} and c.changed_at > {_AT}
                      order by c.version limit 1)
      select {shown} as j, r.version from later, {row(table, "later.before")} where later.before is not null
      union all
      select {shown}, r.version from {physical(table)} r where r.id = {record_id} and not exists (select from later)"""


def _refuse_if_out_of_range(answer: Answer) -> None:
    said = json.loads(answer.hint or b"null")
    if not isinstance(said, dict):
        return
    if "oldest" in said:
        detail = f"the change log is kept since {said['oldest']}; nobody can tell what was before"
        raise Gone(detail, (Fault("as_of", "not_kept", detail),), code="not_kept", oldest=said["oldest"])
    detail = "as_of: this moment has yet to come"
    raise BadRequest(detail, (Fault("as_of", "in_the_future", detail),), code="invalid_parameter")
