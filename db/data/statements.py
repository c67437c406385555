"""The record path's SQL, compiled per table version: what `platform.read` and `platform.write` run as a tenant's role.

A read takes `$1` params and `$2` ids and answers `(body, hint)`. A write takes also `$3` who writes, `$4` the versions
that may be changed and `$5` whether the call has a key, and answers `(body, affected, hint)`; a second one, run where
fewer rows were affected than expected, answers `(body, sqlstate or null, hint)`. A hint is where a page ends, a
record's version, or, of a write, what a repeated call is answered from: `[{"id", "version"}]`.
"""

# ruff: noqa: S608  (the only text of a user in here is a field's name, and it passes through `literal`)

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import count
from typing import NamedTuple

from core.record import Field, Table, parse_projection
from db.data import links, names

BETWEEN = b", \n "
"""What PostgreSQL writes between rows in an array of JSON."""
_KEPT = 1_024
KEPT_GETS = 8_192
"""A get is short, and what comes most, at all tenants' tables."""
_NOTHING = "select null::json, 0, null::json"
_ACTOR = "$3"
_MATCHES = "coalesce(r.version = any ($4), true)"
_ONE = "$2[1]"
_OWN = "r.id, r.created_at, r.updated_at, r.version"
_ANSWER = "json_build_object('id', r.id, 'version', r.version)"


@dataclass(frozen=True)
class Statement:
    """What is run: a statement, one for the reason why not, one for a repeated call."""

    sql: str
    otherwise: str | None = None
    replay: str | None = None
    keep: bool = False
    """Whether it is worth a prepared statement: it will come again, and its plan does not hang on its values."""

    @cached_property
    def name(self) -> str:
        """Under what it is prepared: equal names mean equal SQL."""
        return "s_" + sha256(self.sql.encode()).hexdigest()[:24]


@lru_cache(KEPT_GETS)
def get(table: Table, projection: str | None) -> Statement:
    """Read the record whose id is given, with the fields that `projection` names."""
    fields = parse_projection(projection, table)
    return Statement(
        f"select {record(fields)}, to_json(r.version) from {physical(table)} r where r.id = {_ONE}",
        keep=True,
    )


@lru_cache(_KEPT)
def create_one(table: Table) -> Statement:
    """Insert the record in the body under the id that is given."""
    values = comma(extract(f, "($1 -> 'fields')") for f in table.writable)
    return Statement(
        f"""insert into {physical(table)} as r ({inserted(table)}) values ({_ONE}, {_ACTOR}, {_ACTOR}{values})
            returning {record(table.fields)}, 1, json_build_array({_ANSWER})""",
        replay=_replay(table, one=True),
        keep=True,
    )


@lru_cache(_KEPT)
def create_many(table: Table) -> Statement:
    """Insert the records in the body under the ids that are given, which ascend, and answer in that order."""
    values = comma(extract(f, "(e.rec -> 'fields')") for f in table.writable)
    shown = shape(table.fields)
    return Statement(
        f"""with r as (
              insert into {physical(table)} ({inserted(table)})
              select e.id, {_ACTOR}, {_ACTOR}{values}
                from rows from (jsonb_array_elements($1 -> 'records'), unnest($2)) as e(rec, id)
              returning *, id as n)
            select json_agg({shown.row} order by r.n), count(*), {_answers("r.n")} from r {shown.join}""",
        replay=_replay(table, one=False),
    )


@lru_cache(_KEPT)
def update_one(table: Table, present: frozenset[str]) -> Statement:
    """Set the fields `present` of one record, if its version may be changed and anything differs."""
    fields = named(table, present)
    new = [changed(f, extract(f, "($1 -> 'fields')")) for f in fields]
    changes = f"""
      update {physical(table)} r set {assigned(fields, new)}
       where r.id = {_ONE} and {_MATCHES} and {differs(fields, new)}
      returning {record(table.fields)}, 1, json_build_array({_ANSWER})"""
    # Where it differs still, the record was restored, or changed by another, since we found nothing to change.
    unwritten = differs(fields, new) if fields else "false"
    return Statement(
        changes if fields else _NOTHING,
        f"""select {record(table.fields)},
                   case when r.id is null then 'PB404' when not {_MATCHES} then 'PB412'
                        when {unwritten} then '40001' end,
                   case when {_MATCHES} then json_build_array({_ANSWER}) else {_ANSWER} end
              from (values (1)) one left join {physical(table)} r on r.id = {_ONE}""",
        _replay(table, one=True),
        keep=bool(fields),
    )


@lru_cache(_KEPT)
def update_many(table: Table, present: frozenset[str], uniform: bool) -> Statement:
    """Set the fields `present` of the records in the body; where not `uniform`, those a record lacks stay."""
    fields, shown = named(table, present), shape(table.fields)
    inputs = [extract(f, "(e.rec -> 'fields')") + f" as c{n}" for n, f in enumerate(fields)]
    new = [changed(f, f"i.c{n}") for n, f in enumerate(fields)]
    if not uniform:
        inputs += [f"e.rec -> 'fields' ? {literal(f.name)} as p{n}" for n, f in enumerate(fields)]
        new = [f"case when i.p{n} then {new[n]} else r.{column(f)} end" for n, f in enumerate(fields)]
    given = f"""
      select e.n, e.rec ->> 'id' as id, (e.rec ->> 'version')::bigint as version{comma(inputs)}
        from jsonb_array_elements($1 -> 'records') with ordinality as e(rec, n)"""
    changes = f"""
      with i as materialized ({given}),
      locked as materialized ({_locked(table)}),
      r as (
        update {physical(table)} r set {assigned(fields, new)} from i join locked using (id)
         where r.id = i.id and coalesce(i.version = r.version, true) and {differs(fields, new)}
        returning i.n, r.*)
      select json_agg({shown.row} order by r.n), count(*), {_answers("r.n")} from r {shown.join}"""
    # What this transaction wrote carries its number: a record is not stale because we have just changed it.
    stale = "(i.version <> r.version and r.xmin <> pg_current_xact_id()::xid)"
    return Statement(
        changes if fields else _NOTHING,
        f"""with i as ({given})
            select json_agg({_row(_OWN, {f.name: value_of(f) for f in table.fields})} order by i.n),
                   case when bool_or(r.id is null) then 'PB404' when bool_or({stale}) then 'PB412' end,
                   case when bool_or(r.id is null or {stale})
                        then json_agg(json_build_object('n', i.n - 1, 'version', r.version) order by i.n)
                             filter (where r.id is null or {stale})
                        else {_answers("i.n")} end
              from i left join {physical(table)} r on r.id = i.id""",
        _replay(table, one=False),
    )


@lru_cache(_KEPT)
def delete_one(table: Table) -> Statement:
    """Delete one record, if its version may be."""
    return Statement(
        f"""delete from {physical(table)} r where r.id = {_ONE} and {_MATCHES}
            returning {gone(table)}, 1, json_build_array({gone(table)})""",
        # A record that is here is one whose version did not match, or one that came back after we had found none.
        f"""select null::json, case when r.id is null or {_MATCHES} then 'PB404' else 'PB412' end, {_ANSWER}
              from (values (1)) one left join {physical(table)} r on r.id = {_ONE}""",
        "select $1 -> 0, 0, $1",
        keep=True,
    )


@lru_cache(_KEPT)
def delete_many(table: Table) -> Statement:
    """Delete records, all or none, and answer in the order of their ids as given."""
    return Statement(
        f"""with i as materialized (
              select e.id, e.n from unnest($2) with ordinality as e(id, n)),
            locked as materialized ({_locked(table)}),
            r as (
              delete from {physical(table)} r using i join locked using (id) where r.id = i.id
              returning i.n, r.id, r.version)
            select json_agg({gone(table)} order by r.n), count(*),
                   case when count(*) = cardinality($2) then json_agg({gone(table)} order by r.n)
                        else (select json_agg(json_build_object('n', i.n - 1) order by i.n) from i
                               where not exists (select from r where r.id = i.id)) end
              from r""",
        replay="select $1, 0, $1",
    )


@lru_cache(_KEPT)
def nothing(table: Table, *, one: bool) -> Statement:
    """Affect nothing, so that only a call that was done before has an answer."""
    return Statement(_NOTHING, replay=_replay(table, one=one))


@lru_cache(_KEPT)
def twins(table: Table, field: Field) -> Statement:
    """Tell which of the body's records have a value in `field` that another record, here or there, has."""
    values = f"""select e.n, e.rec ->> 'id' as id, {extract(field, "(e.rec -> 'fields')")} as value
                   from jsonb_array_elements($1 -> 'records') with ordinality as e(rec, n)"""
    return Statement(
        f"""with i as materialized ({values})
            select json_agg(i.n - 1 order by i.n), null::json from i
             where exists (select from {physical(table)} r
                            where r.{column(field)} = i.value and r.id is distinct from i.id)
                or exists (select from i other where other.value = i.value and other.n <> i.n)"""
    )


def physical(table: Table) -> str:
    """Return the physical table."""
    return names.table(table.tenant_id, table.id)


def column(field: Field) -> str:
    """Return the column of a field, which has one: it stands in a record's own row."""
    if not field.type.in_record:
        raise ValueError(f"{field.id} has no column")
    return field.type.source or (field.id if field.is_system else names.column(field.id))


def columns(fields: Iterable[Field]) -> list[str]:
    """Return the columns that the JSON of a record with these fields is made of, each once."""
    own = ("id", "created_at", "updated_at", "version")
    return list(dict.fromkeys((*own, *(column(f) for f in fields if f.type.in_record))))


def value_of(field: Field, row: str = "r", *, past: bool = False) -> str:
    """Return the expression for what record `row` shows in a field; where it is `past`, what it held then."""
    if field.link is None:
        return f"{row}.{column(field)}"
    return f"coalesce({row}.{column(field)}, '{{}}')" if past else links.shown(field, row)


def log_key(field: Field) -> str:
    """Return under what a field's value stands in a row of the change log."""
    return field.type.source or (field.id if field.is_system else names.column_name(field.id))


def record(fields: Iterable[Field], *, past: bool = False) -> str:
    """Return the expression for the JSON of a record `r`; where `past`, with what it held then and without inverses."""
    shown = [f for f in fields if f.type.in_record] if past else fields
    return f"row_to_json({_row(_OWN, {f.name: value_of(f, past=past) for f in shown})})"


class Shape(NamedTuple):
    """What is joined to records `r`, and the name of the row there that `json_agg` makes each record's JSON of."""

    join: str
    row: str


def shape(fields: Sequence[Field]) -> Shape:
    """Return the JSON of records `r` as rows, which is what many of them are made of in two thirds of the time.

    In an array they are parted by `BETWEEN`, which is nowhere else.
    """
    inner, made = _members({f.name: value_of(f) for f in fields})
    row = _free_name("o", [f.name for f in fields])
    own = f"select {_OWN}, {inner} as fields"
    return Shape(f"{made and f'cross join lateral {made}'} cross join lateral ({own}) {row}", row)


def _row(own: str, values: Mapping[str, str]) -> str:
    """Return the expression for a row of the columns `own`, and of `values` by name as its `fields`."""
    inner, made = _members(values)
    return f"(select o from (select {own}, {inner} as fields {made and f'from {made}'}) o)"


def _members(values: Mapping[str, str]) -> tuple[str, str]:
    """Return the expression for an object with `values` by name, and what is to be read from for it, if anything.

    A row's columns are what PostgreSQL writes fastest; a name that is too long for one is a key of `json_object`.
    """
    if values and all(len(name.encode()) <= names.MAX_BYTES for name in values):
        row = _free_name("f", values)
        return (
            row,
            f"(select {', '.join(f'{value} as {names.quoted(n)}' for n, value in values.items())}) {row}",
        )
    members = ", ".join(f"{literal(name)} value {value}" for name, value in values.items())
    return f"json_object({members} returning json)", ""


def _free_name(letter: str, taken: Collection[str]) -> str:
    """Return a name for a row that is none of its columns', which would be meant instead."""
    return next(name for n in count() if (name := letter + "_" * n) not in taken)


def extract(field: Field, fields: str) -> str:
    """Return the expression for a field's value out of the JSON object `fields`; null where it is absent."""
    value, words = f"{fields} -> {literal(field.name)}", f"{fields} ->> {literal(field.name)}"
    if field.link is not None:
        return links.checked(field, value)
    match field.type.cast:
        case "text":
            return words
        case "jsonb":
            return f"nullif({value}, 'null')"
        case "text[]":
            items = f"array(select jsonb_array_elements_text({value}))"
            return f"case jsonb_typeof({value}) when 'array' then {items} end"
        case cast:
            return f"({words})::{cast}"


def kept_for(table: Table) -> str:
    """Return the expression for how long a deleted record can be restored."""
    # Hours, since a day's length hangs on the session's time zone.
    return f"make_interval(hours => {24 * table.trash_days})"


def literal(text: str) -> str:
    """Return a text literal."""
    return "'" + text.replace("'", "''") + "'"


def comma(values: Iterable[str]) -> str:
    """Return what follows in a list that has begun."""
    return "".join(f", {value}" for value in values)


def named(table: Table, present: frozenset[str]) -> tuple[Field, ...]:
    """Return the fields `present` that can be written, in the table's order."""
    return tuple(f for f in table.writable if f.name in present)


def inserted(table: Table) -> str:
    """Return the columns of a new record: its id, who made it, who changed it, and its fields."""
    return f"id, created_by, updated_by{comma(map(column, table.writable))}"


def gone(table: Table) -> str:
    """Return the expression for what is answered of a record `r` that is deleted now."""
    return (
        "json_build_object('id', r.id, 'version', r.version + 1, 'deleted', true,"
        f" 'purge_at', now() + {kept_for(table)})"
    )


def assigned(fields: Iterable[Field], new: Iterable[str]) -> str:
    """Return what a change sets in a record: new values, the next version, when and by whom."""
    columns = [f"{column(f)} = {value}" for f, value in zip(fields, new, strict=True)]
    return ", ".join([*columns, "version = r.version + 1", "updated_at = now()", f"updated_by = {_ACTOR}"])


def changed(field: Field, new: str) -> str:
    """Return the value that a field gets where `new` was sent."""
    return new if field.link is None else links.kept(field, new, "r")


def differs(fields: Iterable[Field], new: Iterable[str]) -> str:
    """Return the condition that a record would be changed."""
    pairs = (f"r.{column(f)} is distinct from {value}" for f, value in zip(fields, new, strict=True))
    return f"({' or '.join(pairs)})"


def logged(field: Field) -> str:
    """Return the expression for what a row `c` of the change log says a field held after the change."""
    if field.link is not None:
        return links.logged(field, "c.after", "c.record_id")
    return f"c.after -> {literal(log_key(field))}"


def _answers(place: str) -> str:
    """Return what is kept of a call with many records, in the order of `place`, and only where it has a key."""
    return f"case when $5 then json_agg({_ANSWER} order by {place}) end"


def _locked(table: Table) -> str:
    """Lock in the order of ids, so that two batches never wait for each other in a circle."""
    return f"""select r.id from {physical(table)} r
                where r.id in (select i.id from i) order by r.id for update of r"""


def _replay(table: Table, *, one: bool) -> str:
    """Answer a repeated call: ids and versions as stored, values from the change log.

    A call that changed nothing names a version that the log may have let go of: until the next one it is what the
    record is, then what that one replaced, which is as young as the key or younger.
    """
    own = "c.record_id as id, c.after -> 'created_at' as created_at, c.after -> 'updated_at' as updated_at, c.version"
    body = _row(own, {f.name: logged(f) for f in table.fields})
    tenant, table_id = names.literal(table.tenant_id), names.literal(table.id)
    record_id, version = "a.kept ->> 'id'", "(a.kept ->> 'version')::bigint"
    logs = f"platform.changes c where c.tenant_id = {tenant} and c.table_id = {table_id} and c.record_id = {record_id}"
    return f"""
      select {f"row_to_json({body})" if one else f"json_agg({body} order by a.n)"}, 0, $1
        from jsonb_array_elements($1) with ordinality as a(kept, n) cross join lateral (
          select c.record_id, c.version, c.after from {logs} and c.version = {version}
          union all
          select c.record_id, c.version - 1, c.before from {logs} and c.version = {version} + 1
          union all
          select r.id, r.version, to_jsonb(r) from {physical(table)} r
           where r.id = {record_id} and r.version = {version}
          limit 1) c"""
