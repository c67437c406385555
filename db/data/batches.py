"""Many records in one call, each answered by itself: `[{n, status, id, version} or {n, status, error}]`."""

# ruff: noqa: S608  (see statements.py)

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import asyncpg

from core import ids
from core.body import Body
from core.errors import Fault, Invalid, NotFound, PlanebaseError, PreconditionFailed, Unavailable
from core.record import Field, Table
from core.schema.closed import pointer
from db.data import links, names, statements
from db.data.homes import Answer, Effect, Rows
from db.data.records import Call, effect_of, refused, write
from db.data.refusals import NO_RECORD, duplicate, known_field
from db.data.statements import Statement, extract, physical

REPLAY = "select $1, 0, $1"
"""What answers a repeated call that is answered by rows: the rows, as they were."""
_KEPT = 512
_NOTHING = Statement("select null::json, 0, null::json", replay=REPLAY)
_STATEMENT = "null::text, null::json"
_MISSING = "json_build_object('state', 'PB404')"
_ROW = "'n', {n}, 'status', {status}, 'id', {id}, 'version', {version}"


class Plan(NamedTuple):
    """What `platform.write_rows` runs for a table version: see there."""

    sql: str
    otherwise: str
    taken: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """The records of a call that passed its check, where they stand in it, and why the others did not pass."""

    body: Body
    places: Sequence[int]
    refused: Mapping[int, Invalid] = field(default_factory=dict)
    coercions: bytes | None = None


async def create(call: Call, part: Part) -> Answer:
    """Insert what can be inserted of the records."""
    made = ids.batch(call.operation_id, len(part.places) + 1)[1:]
    return await run(call, creating(call.table), part, made)


async def update(call: Call, part: Part, *, replace: bool) -> Answer:
    """Set the fields that the records have, or all, in those records where that can be done."""
    body = part.body
    present = frozenset(call.table.by_name) if replace else body.present
    plan = updating(call.table, present, replace or not body.records or body.is_uniform)
    return await run(call, plan, part, [record["id"] for record in body.records])


async def delete(
    call: Call, record_ids: Sequence[str], places: Sequence[int], missing: Sequence[int]
) -> Answer:
    """Delete those of the records that are there; the `missing` places name none that could be."""
    gone = [_refused_row(n, {"state": "PB404"}) for n in missing]
    rows = Rows(*deleting(call.table), b"{}", record_ids, True, places, json.dumps(gone).encode())
    return await _run(call, rows, None)


async def run(call: Call, plan: Plan, part: Part, record_ids: Sequence[str], *, each: bool = True) -> Answer:
    """Write the records under their ids; where `each`, what one is refused for keeps no other from being written."""
    refused = [
        _refused_row(n, {"faults": [[f.pointer, f.code, f.detail] for f in why.faults]})
        for n, why in sorted(part.refused.items())
    ]
    given = json.dumps(refused).encode()
    rows = Rows(*plan, part.body.raw, record_ids, each, part.places, given)
    return await _run(call, rows, part.body, part.coercions)


async def repeated(call: Call) -> Answer | None:
    """Return what a call with this key was answered when it was done; None where it never was."""
    if call.key is None or call.is_dry:
        return None
    try:
        return await write(call, _NOTHING, b"{}", (), expect=1)
    except NotFound:
        return None


async def _run(call: Call, rows: Rows, body: Body | None, coercions: bytes | None = None) -> Answer:
    effect: Effect = effect_of(call, coercions=coercions)
    try:
        return await call.home.write_rows(call.claims, call.base.catalog, effect, rows)
    except asyncpg.PostgresError as error:
        refusal = await refused(call, error, body)
        if refusal is None:
            raise
        raise refusal from error


def refusal(table: Table, n: int, error: Mapping[str, Any], *, in_body: bool) -> PlanebaseError:
    """Return what a row's `error` says of the record at place `n`, as a call with that record alone would be told."""
    if "faults" in error:
        faults = tuple(Fault(*fault) for fault in error["faults"])
        return Invalid(f"{faults[0].pointer}: {faults[0].detail}", faults)
    here = pointer("records", n)
    match error["state"]:
        case "PB404":
            return NotFound(
                NO_RECORD, (Fault(f"{here}/id" if in_body else f"id[{n}]", "not_found", NO_RECORD),)
            )
        case "PB412":
            detail = f"the record has version {error['version']}"
            return PreconditionFailed(
                f"the record has changed since it was read: {detail}",
                (Fault(f"{here}/version", "stale", detail),),
                version=error["version"],
            )
        case "PB429":
            detail = "too many records of this call were refused before this one was tried: send it again"
            return Unavailable(detail, (Fault(here, "not_tried", detail),), code="not_tried")
        case "23505":
            broken = known_field(table, error["name"])
            return duplicate(broken, [here if broken is None else f"{here}{pointer('fields', broken.name)}"])
        case links.UNKNOWN:
            linking = table.by_id.get(error["name"][2:])
            name = "" if linking is None else linking.name
            detail = f"{name!r} names what is no record of the linked table"
            return Invalid(detail, (Fault(f"{here}{pointer('fields', name)}", "unknown_record", detail),))
        case _:
            detail = "a value does not fit its field"
            return Invalid(detail, (Fault(here, "invalid_value", detail),))


@lru_cache(_KEPT)
def creating(table: Table) -> Plan:
    """Insert the records in the body under the ids that are given."""
    row = _ROW.format(n="n", status="'created'", id="d ->> 'id'", version="(d -> 'version')::bigint")
    return Plan(
        statements.create_many(table).sql,
        f"select json_agg(json_build_object({row}) order by n), {_STATEMENT}"
        " from jsonb_array_elements($3) with ordinality as e(d, n)",
        taken(table, frozenset(table.by_name)),
    )


@lru_cache(_KEPT)
def updating(table: Table, present: frozenset[str], uniform: bool) -> Plan:
    """Set the fields `present` of the records in the body; where not `uniform`, those a record lacks stay."""
    changed = _ROW.format(
        n="i.n",
        status="case when d.id is null then 'unchanged' else 'updated' end",
        id="r.id",
        version="r.version",
    )
    stale = "json_build_object('state', 'PB412', 'version', r.version)"
    return Plan(
        statements.update_many(table, present, uniform).sql,
        f"""select json_agg(case when r.id is null then {_error("i.n", _MISSING)}
                                 when d.id is null and i.version <> r.version then {_error("i.n", stale)}
                                 else json_build_object({changed}) end order by i.n), {_STATEMENT}
              from (select e.n, e.rec ->> 'id' as id, (e.rec ->> 'version')::bigint as version
                      from jsonb_array_elements($1 -> 'records') with ordinality as e(rec, n)) i
              left join (select d ->> 'id' as id from jsonb_array_elements($3) d) d on d.id = i.id
              left join {physical(table)} r on r.id = i.id""",
        taken(table, present),
    )


@lru_cache(_KEPT)
def deleting(table: Table) -> Plan:
    """Delete the records whose ids are given."""
    row = _ROW.format(n="i.n", status="'deleted'", id="i.id", version="d.version")
    return Plan(
        statements.delete_many(table).sql,
        f"""select json_agg(case when d.id is null then {_error("i.n", _MISSING)}
                                 else json_build_object({row}) end order by i.n), {_STATEMENT}
              from unnest($2) with ordinality as i(id, n)
              left join (select d ->> 'id' as id, (d -> 'version')::bigint as version
                           from jsonb_array_elements($3) d) d on d.id = i.id""",
        None,
    )


def taken(table: Table, present: frozenset[str]) -> str | None:
    """Return what finds the records whose unique value is another's, here already or earlier in the call, or that
    link to what is no record.

    What a record of the same call gives up is not counted as taken: that may turn out either way.
    """
    written = [f for f in table.writable if f.name in present]
    unique, linked = [f for f in written if f.unique], [f for f in written if f.link is not None]
    if not unique and not linked:
        return None
    values = "".join(f", {_value(f)} as c{n}" for n, f in enumerate(unique))
    broken = [
        f"""($3 = {statements.literal(names.unique_name(f.id))}
             and (exists (select from {physical(table)} r where r.{statements.column(f)} = i.c{n}
                             and not exists (select from i mine where mine.id = r.id))
                  or exists (select from i other where other.c{n} = i.c{n} and other.n < i.n)))"""
        for n, f in enumerate(unique)
    ]
    broken += [
        f"""($3 = {statements.literal(names.column_name(f.id))}
             and exists (select from jsonb_array_elements_text(
                                       case jsonb_typeof(i.fields -> {statements.literal(f.name)}) when 'array'
                                            then i.fields -> {statements.literal(f.name)} end) l(id)
                          where not exists (select from {links.target(f)} t where t.id = l.id)))"""
        for f in linked
    ]
    return f"""
      with i as materialized (
        select e.n, e.rec ->> 'id' as id, e.rec -> 'fields' as fields{values}
          from jsonb_array_elements($1 -> 'records') with ordinality as e(rec, n))
      select array_agg(i.n order by i.n)::int[] from i where {" or ".join(broken)}"""


def _value(unique: Field) -> str:
    return extract(unique, "(e.rec -> 'fields')")


def _error(n: str, error: str) -> str:
    return f"json_build_object('n', {n}, 'status', 'error', 'error', {error})"


def _refused_row(n: int, error: Mapping[str, Any]) -> dict[str, Any]:
    return {"n": n, "status": "error", "error": error}
