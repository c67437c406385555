"""Records: one statement each, compiled for the table's version, in one round trip."""

import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace

import asyncpg

from core import ids
from core.body import MAX_RECORDS, Body
from core.errors import Conflict, NotFound, PlanebaseError, StaleSchema
from core.ids import Ulid
from core.record import Table
from core.schema.closed import pointer
from db.data import grouped, statements
from db.data.catalog import Base, Catalog
from db.data.homes import Answer, Claims, Effect, Home, Key, One
from db.data.listing import Listing
from db.data.refusals import MAY_BE_STALE, NO_RECORD, duplicate, translated, unique_field
from db.data.statements import Statement

_NO_PARAMS = b"{}"
_SMALL_BYTES = 16_384
"""How large a write may be that goes together with others."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call on a table: who, where, and as which operation."""

    home: Home
    claims: Claims
    catalog: Catalog
    base: Base
    table: Table
    operation_id: Ulid
    key: Key | None = None
    is_dry: bool = False
    """Whether what it writes is rolled back; then nothing is remembered under its key either."""


async def get(call: Call, record_id: str, projection: str | None) -> Answer:
    """Return one record, and its version as the hint; NotFound where there is none."""
    statement, of_many = statements.get(call.table, projection), grouped.get(call.table, projection)
    answer = await _told(
        call, call.home.read_one(call.claims, call.base.catalog, statement, of_many, record_id)
    )
    if answer.hint is None:
        raise NotFound(NO_RECORD)
    return answer


async def page(
    call: Call, listing: Listing, after: list[str | None] | None, limit: int, *, in_lines: bool = False
) -> Answer:
    """Return a JSON array of at most `limit` records, and as the hint the place where the next page begins.

    `in_lines` each record stands in an array of its own, and a new line begins between those and nowhere else.
    """
    given = listing.params(after, limit)
    statement = listing.statement(after, limit, in_lines=in_lines)
    if statement.keep and not in_lines:
        answer = await _told(call, call.home.read_page(call.claims, call.base.catalog, statement, given))
    else:
        answer = await read(call, statement, given)
    if answer.body is None:
        answer = await read(call, listing.statement(after, limit, exact=True, in_lines=in_lines), given)
    return answer


async def total(call: Call, listing: Listing, within_s: float) -> int | None:
    """Return how many records the query finds on all its pages; None where counting would take longer."""
    given = json.dumps({"q": listing.values}).encode()
    try:
        answer = await call.home.read(
            call.claims, call.base.catalog, listing.total(), given, within_s=within_s
        )
    except asyncpg.QueryCanceledError:
        return None
    except asyncpg.PostgresError as error:
        refusal = await refused(call, error, None)
        if refusal is None:
            raise
        raise refusal from error
    return int(answer.body)


async def create(call: Call, body: Body, coercions: bytes | None = None) -> Answer:
    """Insert the records of `body` in its order, all or none; a repetition inside one call makes the same ids."""
    made = ids.batch(call.operation_id, len(body.records) + 1)[1:]
    if body.one:
        statement, of_many = statements.create_one(call.table), grouped.create(call.table)
    else:
        statement, of_many = statements.create_many(call.table), None
    return await write(
        call, statement, body.raw, made, body=body, status=201, coercions=coercions, of_many=of_many
    )


async def update(
    call: Call, body: Body, record_id: str | None, match: list[int] | None, coercions: bytes | None = None
) -> Answer:
    """Set the fields that `body` has, all records or none; a record that would not change is not written."""
    return await _update(call, body, body.present, body.one or body.is_uniform, record_id, match, coercions)


async def replace_all(
    call: Call, body: Body, record_id: str | None, match: list[int] | None, coercions: bytes | None = None
) -> Answer:
    """Set every field, to null where `body` lacks it, all records or none."""
    return await _update(call, body, frozenset(call.table.by_name), True, record_id, match, coercions)


async def delete_one(call: Call, record_id: str, match: list[int] | None) -> Answer:
    """Delete one record; its version counts up once more."""
    statement, of_many = statements.delete_one(call.table), grouped.delete(call.table)
    return await write(call, statement, _NO_PARAMS, [record_id], match=match, of_many=of_many)


async def delete_many(call: Call, record_ids: list[str]) -> Answer:
    """Delete records, all or none."""
    return await write(call, statements.delete_many(call.table), _NO_PARAMS, record_ids)


async def repeated(call: Call, *, one: bool) -> Answer | None:
    """Return what a call with this key was answered when it was done; None where it never was."""
    try:
        return await write(call, statements.nothing(call.table, one=one), _NO_PARAMS, (), expect=1)
    except NotFound:
        return None


async def _update(
    call: Call,
    body: Body,
    present: frozenset[str],
    uniform: bool,
    record_id: str | None,
    match: list[int] | None,
    coercions: bytes | None,
) -> Answer:
    if record_id is not None:
        statement = statements.update_one(call.table, present)
        of_many = grouped.update(call.table, present) if statement.keep else None
        return await write(
            call,
            statement,
            body.raw,
            [record_id],
            body=body,
            match=match,
            coercions=coercions,
            of_many=of_many,
        )
    statement = statements.update_many(call.table, present, uniform)
    return await write(
        call, statement, body.raw, (), body=body, expect=len(body.records), coercions=coercions
    )


async def read(call: Call, statement: Statement, params: bytes, record_ids: Sequence[str] = ()) -> Answer:
    """Run a statement that reads; what the database refuses is one of our refusals."""
    return await _told(call, call.home.read(call.claims, call.base.catalog, statement, params, record_ids))


async def _told(call: Call, reading: Awaitable[Answer]) -> Answer:
    try:
        return await reading
    except asyncpg.PostgresError as error:
        refusal = await refused(call, error, None)
        if refusal is None:
            raise
        raise refusal from error


async def write(
    call: Call,
    statement: Statement,
    params: bytes,
    record_ids: Sequence[str],
    *,
    body: Body | None = None,
    match: list[int] | None = None,
    expect: int | None = None,
    status: int = 200,
    coercions: bytes | None = None,
    of_many: Statement | None = None,
) -> Answer:
    """Run a statement that writes, or answer what the same call was answered before; all of it or nothing.

    With `of_many` it is about one record, and goes together with others that the token writes at the same time.
    """
    expect = len(record_ids) if expect is None else expect
    effect = effect_of(call, expect=expect, match=match, status=status, coercions=coercions)
    return await run(call, effect, statement, params, record_ids, body, of_many=of_many)


def effect_of(
    call: Call,
    *,
    expect: int | None = None,
    most: int = MAX_RECORDS,
    match: list[int] | None = None,
    status: int = 200,
    coercions: bytes | None = None,
) -> Effect:
    """Return what a write of this call is besides its statement."""
    key = None if call.key is None or call.is_dry else replace(call.key, status=status)
    version = call.table.version
    return Effect(call.operation_id, version, expect, most, key, match, coercions, call.is_dry)


async def run(
    call: Call,
    effect: Effect,
    statement: Statement,
    params: bytes,
    record_ids: Sequence[str] = (),
    body: Body | None = None,
    *,
    of_many: Statement | None = None,
) -> Answer:
    """Run a statement with an effect of its own, as `write` does."""
    claims, catalog = call.claims, call.base.catalog
    try:
        try:
            if of_many is not None and _may_go_along(effect, params):
                one = One(record_ids[0], params, effect)
                return await call.home.write_one(claims, catalog, statement, of_many, one)
            return await call.home.write(claims, catalog, effect, statement, params, record_ids)
        except asyncpg.PostgresError as error:
            if error.sqlstate != "PB308":
                raise
        # It was done before: only now is it worth its while to send what answers it.
        return await call.home.write(claims, catalog, effect, statement, params, record_ids, replay=True)
    except asyncpg.PostgresError as error:
        refusal = await refused(call, error, body)
        if refusal is None:
            raise
        raise refusal from error


def _may_go_along(effect: Effect, params: bytes) -> bool:
    is_plain = not effect.is_dry and effect.coercions is None
    # One of several versions, or of none, is more than a group compares.
    return is_plain and len(params) <= _SMALL_BYTES and (effect.match is None or len(effect.match) == 1)


async def refused(call: Call, error: asyncpg.PostgresError, body: Body | None) -> PlanebaseError | None:
    """Return the refusal that `error` stands for, StaleSchema where it may be due to that; None for any other."""
    if error.sqlstate in MAY_BE_STALE and await call.catalog.has_changed(call.home, call.claims, call.base):
        return StaleSchema("the schema is changing")
    return await _twins(call, error, body) or translated(error, call.table, body)


async def _twins(call: Call, error: asyncpg.PostgresError, body: Body | None) -> Conflict | None:
    """Where in a batch the values stand that are there already: RLS keeps PostgreSQL from saying so."""
    field = unique_field(error, call.table) if error.sqlstate == "23505" else None
    if field is None or body is None or body.one:
        return None
    try:
        statement = statements.twins(call.table, field)
        found = await call.home.read(call.claims, call.base.catalog, statement, body.raw)
    except asyncpg.PostgresError:
        return duplicate(field, [pointer("records")])
    places = json.loads(found.body or b"null") or []
    return duplicate(
        field, [pointer("records", n, "fields", field.name) for n in places] or [pointer("records")]
    )
