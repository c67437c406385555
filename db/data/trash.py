"""The trash: deleted records, read from the change log and brought back from it under the version that comes next."""

# ruff: noqa: S608  (see statements.py)

import json
from functools import lru_cache
from typing import NamedTuple

from core import body as bodies
from core.body import Write
from core.errors import Conflict, Fault, Gone, Invalid, NotFound, PreconditionFailed
from core.record import Field, Table
from db.data import names, records
from db.data.history import dropped, fields_json, log, row
from db.data.homes import Answer
from db.data.listing import MAX_PAGE_BYTES
from db.data.records import Call
from db.data.refusals import NO_RECORD
from db.data.statements import Statement, column, extract, kept_for, literal, physical

_KEPT = 256
_NO_FIELDS = b'{"fields":{}}'
_ACTOR = "$3"


class Place(NamedTuple):
    """Where a page of the trash ended."""

    deleted_at: str
    record_id: str


async def page(call: Call, after: Place | None, limit: int) -> Answer:
    """Return a JSON array of deleted records, the last deleted first, and as the hint the place of the last one."""
    given = json.dumps({"limit": limit, "after": after}).encode()
    return await records.read(call, _page(call.table), given)


async def restore(call: Call, record_id: str, given: bytes | None, match: list[int] | None) -> Answer:
    """Bring a deleted record back with its id, values and time of creation; once, whoever tries at the same time.

    `given` is a body with fields that take other values than they had. What the record holds is checked as if it were
    sent: fields and choices may have changed since it was deleted.
    """
    sent = None if given is None else bodies.read(call.table, Write.MERGE, given)
    if sent is not None and not sent.one:
        detail = "the body of this address has `fields`, or there is none"
        raise Invalid(detail, (Fault("", "one_or_many", detail),))
    version = await _deleted(call, record_id, given, match)
    try:
        return await records.write(
            call,
            _restore(call.table, frozenset() if sent is None else sent.present),
            given or _NO_FIELDS,
            [record_id],
            body=sent,
            match=[version],
        )
    except Conflict as conflict:
        # A value that is unique is told by its field; anything else that is there is the record itself.
        if conflict.reason != Conflict.code:
            raise
        raise _not_deleted() from conflict


async def repeated(call: Call) -> Answer | None:
    """Return what a restore with this key was answered when it was done; None where it never was."""
    try:
        return await records.write(call, _nothing(call.table), b"{}", (), expect=1)
    except NotFound:
        return None


async def _deleted(call: Call, record_id: str, given: bytes | None, match: list[int] | None) -> int:
    """Return the version under which the record was deleted; refuses what cannot be restored, and says why."""
    found = await records.read(call, _deletion(call.table), given or _NO_FIELDS, [record_id])
    last = json.loads(found.hint or b"{}")
    if last["is_there"]:
        raise _not_deleted()
    if last["version"] is None:
        raise NotFound(NO_RECORD)
    if last["is_over"]:
        detail = f"this record could be restored until {last['purge_at']}"
        raise Gone(detail, code="trash_expired", purge_at=last["purge_at"])
    if match is not None and last["version"] not in match:
        detail = f"the record was deleted as version {last['version']}"
        raise PreconditionFailed(detail, (Fault("If-Match", "stale", detail),), version=last["version"])
    bodies.read(call.table, Write.CREATE, b'{"fields":' + found.body + b"}")
    return int(last["version"])


def _not_deleted() -> Conflict:
    detail = "this record is not deleted"
    return Conflict(detail, (Fault("", "not_deleted", detail),), code="not_deleted")


def purge_at(table: Table, deleted_at: str) -> str:
    """Return the expression for the moment until which a record that was deleted then can be restored."""
    return f"({deleted_at} + {kept_for(table)})"


@lru_cache(_KEPT)
def _page(table: Table) -> Statement:
    entry = f"""json_object(
      'id' value c.record_id, 'version' value c.version, 'deleted_at' value c.changed_at,
      'deleted_by' value json_build_object('user_id', c.actor_id, 'token_id', c.token_id),
      'purge_at' value {purge_at(table, "c.changed_at")},
      'created_at' value r.created_at, 'updated_at' value r.updated_at,
      'fields' value {fields_json(table.fields)},
      'dropped_fields' value {dropped(table, "c.before")} returning json)"""
    fits = f"e.n <= ($1 ->> 'limit')::int and (e.n = 1 or e.bytes <= {MAX_PAGE_BYTES})"
    after = "coalesce(($1 -> 'after' ->> 0)::timestamptz, 'infinity'), coalesce($1 -> 'after' ->> 1, '')"
    return Statement(
        f"""
        select coalesce(json_agg(e.j order by e.n) filter (where {fits}), '[]'),
               case when count(*) > count(*) filter (where {fits})
                    then (array_agg(json_build_array(e.changed_at::text, e.record_id) order by e.n desc)
                          filter (where {fits}))[1] end
          from (select e.*, sum(octet_length(e.j::text)) over (order by e.n rows unbounded preceding) as bytes
                  from (select row_number() over () as n, c.changed_at, c.record_id, {entry} as j
                          from (select c.* from {log(table)} and c.action = 'delete'
                                   and c.changed_at > now() - {kept_for(table)}
                                   and (c.changed_at, c.record_id) < ({after})
                                   and not exists (select from {log(table, "later")}
                                                      and later.record_id = c.record_id and later.version > c.version)
                                 order by c.changed_at desc, c.record_id desc limit ($1 ->> 'limit')::int + 1) c,
                               {row(table, "c.before")}) e) e"""
    )


@lru_cache(_KEPT)
def _deletion(table: Table) -> Statement:
    """Tell what the record would hold, and what became of it last."""
    writable = ", ".join(f"{literal(f.name)} value r.{column(f)}" for f in table.writable)
    had = f"to_jsonb(json_object({writable} absent on null returning json))"
    return Statement(
        f"""select ({had} || ($1 -> 'fields'))::json,
                   json_build_object('version', c.version, 'purge_at', {purge_at(table, "c.changed_at")},
                                     'is_over', {purge_at(table, "c.changed_at")} <= now(),
                                     'is_there', exists (select from {physical(table)} t where t.id = $2[1]))
              from (values (1)) one left join ({_last(table)}) c on c.action = 'delete'
              left join lateral {row(table, "c.before")} on true"""
    )


@lru_cache(_KEPT)
def _restore(table: Table, present: frozenset[str]) -> Statement:
    """Insert the record as its last change left it, if that is the version that was looked at.

    The first statement says that nothing was affected, so that the second one looks with a snapshot of its own: while
    the first waited for another transaction the record may have been restored and deleted again.
    """
    stored = [f for f in table.recorded if f.type.source is None]
    values = "".join(f", {_value(table, f, f.name in present)}" for f in stored)
    columns = "".join(f", {column(f)}" for f in stored)
    restored = f"""json_object('id' value r.id, 'version' value r.version,
                               'dropped_fields' value {dropped(table, "c.before")} returning json)"""
    return Statement(
        f"""
        with made as (
          insert into {physical(table)} (id, version, created_at, created_by, updated_by, extra{columns})
          select r.id, c.version + 1, r.created_at, r.created_by, {_ACTOR}, r.extra{values}
            from ({_last(table)}) c, {row(table, "c.before")}
           where c.action = 'delete' and c.version = any ($4) returning 1)
        select null::json, 0, null::json""",
        f"""
        select {_answer(table, dropped(table, "c.before"))},
               case when r.id is null then '40001' when r.xmin <> pg_current_xact_id()::xid then '23505'
                    when (select count(*) from {log(table, "n")} and n.record_id = r.id and n.version >= r.version) > 1
                    then '40001' end,
               json_build_array({restored})
          from (values (1)) one left join {physical(table)} r on r.id = $2[1]
          left join lateral (
            select c.before from {log(table)} and c.record_id = $2[1] and c.version = any ($4)) c on true""",
        _replay(table),
    )


@lru_cache(_KEPT)
def _nothing(table: Table) -> Statement:
    return Statement("select null::json, 0, null::json", replay=_replay(table))


def _replay(table: Table) -> str:
    return f"""
      select (select {_answer(table, "k.kept -> 'dropped_fields'")} from {row(table, "c.after")}), 0, $1
        from jsonb_array_elements($1) as k(kept), {log(table)}
         and c.record_id = k.kept ->> 'id' and c.version = (k.kept ->> 'version')::bigint"""


def _answer(table: Table, dropped_fields: str) -> str:
    """Return the expression for the answer of a restore: the record `r`, and what of it there is no place for."""
    return f"""json_object('id' value r.id, 'created_at' value r.created_at, 'updated_at' value r.updated_at,
                           'version' value r.version, 'fields' value {fields_json(table.fields, past=False)},
                           'dropped_fields' value {dropped_fields} returning json)"""


def _last(table: Table) -> str:
    return f"select c.* from {log(table)} and c.record_id = $2[1] order by c.version desc limit 1"


def _value(table: Table, field: Field, is_given: bool) -> str:
    if is_given:
        return extract(field, "($1 -> 'fields')")
    if field.type.numbered:
        # A field that is younger than the deletion: the record is numbered now.
        return f"coalesce(r.{column(field)}, nextval('{names.sequence(table.tenant_id, field.id)}'))"
    return f"r.{column(field)}"
