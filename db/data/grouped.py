"""Statements for several calls at once, each about one record: what is sent where calls go together.

They take what a call's own statement takes, but a body, an id and a version for each call, and answer JSON arrays in
which each record begins a new line.
"""

# ruff: noqa: S608  (see statements.py)

from functools import lru_cache

from core.record import Table, parse_projection
from db.data import statements
from db.data.statements import Shape, Statement, comma, differs, extract, physical, shape

_KEPT = 1_024
_CALLS = "rows from (jsonb_array_elements($1), unnest($2), unnest($4)) as e(rec, id, version)"
_ASKED = "coalesce(r.version = i.version, true)"
_VERSION = "json_build_object('id', r.id, 'version', r.version)"


@lru_cache(statements.KEPT_GETS)
def get(table: Table, projection: str | None) -> Statement:
    """Read the records whose ids are given; the hint has the place and the version of each, `[[n, version]]`."""
    shown = shape(parse_projection(projection, table))
    return Statement(
        f"""select json_agg({shown.row} order by i.n), json_agg(json_build_array(i.n, r.version) order by i.n)
              from unnest($2) with ordinality i(id, n) join {physical(table)} r on r.id = i.id {shown.join}""",
        keep=True,
    )


@lru_cache(_KEPT)
def create(table: Table) -> Statement:
    """Insert the record of each call under its id."""
    values = comma(extract(f, "(e.rec -> 'fields')") for f in table.writable)
    made = f"""
      insert into {physical(table)} ({statements.inserted(table)})
      select e.id, $3, $3{values} from {_CALLS} returning *"""
    return _of_each(f"r as ({made})", shape(table.fields), _VERSION)


@lru_cache(_KEPT)
def update(table: Table, present: frozenset[str]) -> Statement:
    """Set the fields `present` of those records that are there, free, and of the version that is asked for.

    What would not change is not written, and answered as it is.
    """
    fields = statements.named(table, present)
    inputs = comma(extract(f, "(e.rec -> 'fields')") + f" as c{n}" for n, f in enumerate(fields))
    new = [statements.changed(f, f"i.c{n}") for n, f in enumerate(fields)]
    # What is locked has the values that it has now; what is read beside it, those from before we had the lock.
    return _of_each(
        f"""{_free(table, "*", inputs)},
            changed as (
              update {physical(table)} r set {statements.assigned(fields, new)} from i join locked using (id)
               where r.id = i.id and {_ASKED} and {differs(fields, new)} returning r.*),
            r as (
              select * from changed union all
              select r.* from locked r join i using (id) where {_ASKED} and not {differs(fields, new)})""",
        shape(table.fields),
        _VERSION,
    )


@lru_cache(_KEPT)
def delete(table: Table) -> Statement:
    """Delete those of the records that are there, free, and of the version that is asked for."""
    made = f"""
      delete from {physical(table)} r using i join locked using (id)
       where r.id = i.id and {_ASKED} returning r.id, r.version"""
    own = f"r.id, r.version + 1 as version, true as deleted, now() + {statements.kept_for(table)} as purge_at"
    gone = Shape(f"cross join lateral (select {own}) o", "o")
    return _of_each(f"{_free(table, 'id')}, r as ({made})", gone, "o")


def _free(table: Table, what: str, inputs: str = "") -> str:
    """Lock the records in the order of their ids, without those that others hold: the rest would wait for them."""
    return f"""
      i as materialized (select e.id, e.version{inputs} from {_CALLS}),
      locked as materialized (
        select r.{what} from {physical(table)} r where r.id in (select i.id from i) order by r.id
           for update of r skip locked)"""


def _of_each(written: str, shown: Shape, kept: str) -> Statement:
    return Statement(
        f"""with {written}
            select json_agg({shown.row} order by r.id), count(*), json_agg({kept} order by r.id) from r {shown.join}""",
        keep=True,
    )
