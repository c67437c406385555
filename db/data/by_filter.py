"""Changes and deletes of all records that a filter finds, at most as many as the caller says."""

# ruff: noqa: S608  (see statements.py)

import json

from core.body import Body
from core.errors import Conflict, Fault, TooLarge
from core.filter import Filter
from core.record import Table
from db.data import statements
from db.data.batches import REPLAY
from db.data.conditions import compiled
from db.data.homes import Answer
from db.data.records import Call, effect_of, run
from db.data.statements import Statement, extract, physical

_MOST = "($1 ->> 'most')::int"
_ANSWER = "coalesce(json_agg({row} order by hit.id), '[]')"


async def update(
    call: Call, condition: Filter, body: Body, most: int, coercions: bytes | None = None
) -> Answer:
    """Set the fields that `body` has in every record that `condition` finds; Conflict where those are more than `most`.

    Answers `[{id, version, status}]`; what would not change is not written.
    """
    values: list[str] = []
    statement = _update(call.table, compiled(condition, values), body.present)
    given = b'{"q":%b,"most":%d,"change":%b}' % (json.dumps(values).encode(), most, body.raw)
    return await _run(call, statement, given, most, body, coercions)


async def delete(call: Call, condition: Filter, most: int) -> Answer:
    """Delete every record that `condition` finds; Conflict where those are more than `most`."""
    values: list[str] = []
    statement = _delete(call.table, compiled(condition, values))
    given = b'{"q":%b,"most":%d}' % (json.dumps(values).encode(), most)
    return await _run(call, statement, given, most)


async def _run(
    call: Call,
    statement: Statement,
    given: bytes,
    most: int,
    body: Body | None = None,
    coercions: bytes | None = None,
) -> Answer:
    try:
        return await run(call, effect_of(call, most=most, coercions=coercions), statement, given, body=body)
    except TooLarge as error:
        if error.reason != "too_many_affected":
            raise
        detail = f"at least {most + 1} records match, and max-affected is {most}: nothing was changed"
        fault = Fault("max-affected", "too_many_affected", detail)
        raise Conflict(detail, (fault,), code="too_many_affected", at_least=most + 1) from error


def _update(table: Table, condition: str, present: frozenset[str]) -> Statement:
    fields = [f for f in table.writable if f.name in present]
    new = [statements.changed(f, extract(f, "($1 -> 'change' -> 'fields')")) for f in fields]
    row = """json_build_object('id', hit.id, 'version', coalesce(r.version, hit.version),
                               'status', case when r.id is null then 'unchanged' else 'updated' end)"""
    changed = f"""
      update {physical(table)} r set {statements.assigned(fields, new)} from hit
       where r.id = hit.id and (select n from found) <= {_MOST} and {statements.differs(fields, new)}
      returning r.id, r.version"""
    unchanged = "select null::text as id, null::bigint as version"
    return _affecting(table, condition, changed if fields else unchanged, row)


def _delete(table: Table, condition: str) -> Statement:
    row = "json_build_object('id', hit.id, 'version', r.version, 'status', 'deleted')"
    return _affecting(
        table,
        condition,
        f"""delete from {physical(table)} r using hit
             where r.id = hit.id and (select n from found) <= {_MOST}
            returning r.id, r.version + 1 as version""",
        row,
    )


def _affecting(table: Table, condition: str, effect: str, row: str) -> Statement:
    """Lock one more than may be affected, in the order of ids as all batches do; then do it, or nothing."""
    answer = _ANSWER.format(row=row)
    return Statement(
        f"""with hit as materialized (
              select r.id, r.version from {physical(table)} r where {condition}
               order by r.id limit {_MOST} + 1 for update of r),
            found as materialized (select count(*) as n from hit),
            r as ({effect})
            select {answer}, (select n from found)::int, {answer} from hit left join r using (id)""",
        replay=REPLAY,
    )
