"""Upserts: a record is created, or the one that has its value in a unique field is changed, in one statement."""

# ruff: noqa: S608  (see statements.py)

from functools import lru_cache

from core import ids
from core.errors import Conflict, Unavailable
from core.record import Field, Table, refusal
from core.schema.closed import nearest
from db.data import batches, statements
from db.data.batches import Part, Plan
from db.data.homes import Answer
from db.data.names import literal
from db.data.records import Call
from db.data.statements import column, extract, physical

_KEPT = 512
_REPEATS = 5


def key_field(table: Table, name: str) -> Field:
    """Return the field to merge on; refuses one that is not unique."""
    field = table.by_name.get(name)
    unique = [f.name for f in table.writable if f.unique]
    if field is None:
        raise refusal("upsert", "unknown_field", nearest("field", name[:100], unique or table.by_name))
    if not field.unique:
        raise refusal("upsert", "not_unique", f"{name!r} is not unique, so it names no one record")
    return field


async def upsert(call: Call, field: Field, part: Part, *, each: bool) -> Answer:
    """Create or change the records of `part`; those that would not change are not written.

    Whoever meets another who is creating the same record waits for it, and then changes it.
    """
    made = ids.batch(call.operation_id, len(part.places) + 1)[1:]
    records = part.body.records
    present = part.body.present if records else frozenset[str]()
    plan = upserting(call.table, field.id, present, not records or part.body.is_uniform)
    for attempt in range(1, _REPEATS + 1):
        try:
            return await batches.run(call, plan, part, made, each=each)
        except (Conflict, Unavailable) as error:
            # Another unique value of a twin may be met before the key is, and two that cross may lock each other
            # out: then nothing was written, and by now the twin is there.
            if error.reason not in ("duplicate_value", "busy") or attempt == _REPEATS:
                raise
    raise AssertionError("the last attempt returns or raises")


@lru_cache(_KEPT)
def upserting(table: Table, key_id: str, present: frozenset[str], uniform: bool) -> Plan:
    """Insert the records in the body under the ids given, or set what they have in those with the same key.

    Records are taken in the order of their keys, so that two calls never wait for each other in a circle.
    """
    key = table.by_id[key_id]
    fields = table.writable
    places = {f.id: n for n, f in enumerate(fields)}
    given = "".join(f", {_value(f)} as c{n}" for n, f in enumerate(fields))
    settable = [f for f in fields if f.name in present and f is not key]
    if not uniform:
        given += "".join(
            f", e.rec -> 'fields' ? {statements.literal(f.name)} as p{places[f.id]}" for f in settable
        )
    new = [_new(f, places[f.id], uniform) for f in settable]
    # Whoever would not be changed is locked all the same, so that what is answered of it holds.
    changes = statements.assigned(settable, new)
    differs = statements.differs(settable, new) if settable else "false"
    key_place = f"c{places[key.id]}"
    inputs = f"""
      select e.n, e.id{given}
        from rows from (jsonb_array_elements($1 -> 'records'), unnest($2)) with ordinality as e(rec, id, n)"""
    twins = f"select n from (select n, count(*) over (partition by {key_place}) as times from i) k where times > 1"
    columns = "".join(f", {column(f)}" for f in fields)
    values = "".join(f", i.c{n}" for n in places.values())
    return Plan(
        f"""with i as materialized ({inputs}),
            twins as materialized ({twins}),
            r as (
              insert into {physical(table)} as r (id, created_by, updated_by{columns})
              select i.id, $3, $3{values} from i where not exists (select from twins) order by i.{key_place}
              on conflict ({column(key)}) do update set {changes} where {differs}
              returning new.id, new.version, new.{column(key)} as key, old.id is null as is_new)
            select json_agg(json_build_object('n', i.n, 'status', case when r.is_new then 'created' else 'updated' end,
                                              'id', r.id, 'version', r.version)),
                   count(*), null::json
              from r join i on i.{key_place} = r.key""",
        f"""with i as materialized (
              select e.n, {_value(key)} as {key_place}
                from jsonb_array_elements($1 -> 'records') with ordinality as e(rec, n)),
            twins as materialized ({twins}),
            d as (
              select (d -> 'n')::bigint as n, d from jsonb_array_elements($3) d)
            select json_agg(coalesce(d.d, jsonb_build_object('n', i.n, 'status', 'unchanged', 'id', r.id,
                                                            'version', r.version)) order by i.n),
                   case when exists (select from twins) then 'PB421' end,
                   json_build_object('field', {literal(key.id)}, 'n', (select json_agg(n - 1 order by n) from twins))
              from i left join d on d.n = i.n
              left join {physical(table)} r on d.n is null and r.{column(key)} = i.{key_place}""",
        None,
    )


def _value(field: Field) -> str:
    return extract(field, "(e.rec -> 'fields')")


def _new(field: Field, place: int, uniform: bool) -> str:
    proposed = statements.changed(field, f"excluded.{column(field)}")
    if uniform:
        return proposed
    return f"case when excluded.id in (select i.id from i where i.p{place}) then {proposed} else r.{column(field)} end"
