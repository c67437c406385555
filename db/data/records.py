"""Records: one statement each, compiled for the table's version, in one round trip."""

import json
from dataclasses import dataclass
from typing import Any

import asyncpg

from core import ids
from core.body import MAX_RECORDS, Body
from core.errors import Conflict, NotFound, StaleSchema
from core.ids import Ulid
from core.record import Table
from core.schema.closed import pointer
from db.data import statements
from db.data.catalog import Base, Catalog
from db.data.homes import Answer, Claims, Home, member
from db.data.listing import Listing
from db.data.refusals import MAY_BE_STALE, duplicate, translated, unique_field
from db.data.statements import Statement

_NO_PARAMS = b"{}"


@dataclass(frozen=True, slots=True)
class Key:
    """A call's Idempotency-Key, and what tells it from another call with the same key."""

    key: str
    request_hash: str


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


async def get(call: Call, record_id: str, projection: str | None) -> Answer:
    """Return one record, and its version as the hint; NotFound where there is none."""
    statement = statements.get(call.table, projection)
    return await _run(call, statement, f',"expect":1,"record":"{record_id}"}}', _NO_PARAMS, 1, None)


async def page(call: Call, listing: Listing, after: list[str | None] | None, limit: int) -> Answer:
    """Return a JSON array of at most `limit` records, and as the hint the place where the next page begins."""
    params: dict[str, Any] = {"limit": limit, "q": listing.values}
    if after is not None:
        params["after"] = after
    return await _run(
        call, listing.statement(after, limit), ',"expect":0}', json.dumps(params).encode(), 0, None
    )


async def create(call: Call, body: Body) -> Answer:
    """Insert the records of `body` in its order, all or none; a repetition inside one call makes the same ids."""
    first, *others = ids.batch(call.operation_id, len(body.records) + 1)[1:]
    if body.one:
        tail = f',"record":"{first}"'
        return await _write(call, statements.create_one(call.table), tail, body.raw, 1, body, 201)
    tail = member("ids", [first, *others])
    return await _write(
        call, statements.create_many(call.table), tail, body.raw, len(body.records), body, 201
    )


async def update(call: Call, body: Body, record_id: str | None, match: list[int] | None) -> Answer:
    """Set the fields that `body` has, all records or none; a record that would not change is not written."""
    return await _update(call, body, body.present, body.one or body.is_uniform, record_id, match)


async def replace_all(call: Call, body: Body, record_id: str | None, match: list[int] | None) -> Answer:
    """Set every field, to null where `body` lacks it, all records or none."""
    return await _update(call, body, frozenset(call.table.by_name), True, record_id, match)


async def delete_one(call: Call, record_id: str, match: list[int] | None) -> Answer:
    """Delete one record; its version counts up once more."""
    tail = f',"record":"{record_id}"' + _matching(match)
    return await _write(call, statements.delete_one(call.table), tail, _NO_PARAMS, 1, None, 200)


async def delete_many(call: Call, record_ids: list[str]) -> Answer:
    """Delete records, all or none."""
    params = json.dumps({"ids": record_ids}).encode()
    return await _write(call, statements.delete_many(call.table), "", params, len(record_ids), None, 200)


async def repeated(call: Call, *, one: bool) -> Answer | None:
    """Return what a call with this key was answered when it was done; None where it never was."""
    try:
        return await _write(call, statements.nothing(call.table, one=one), "", _NO_PARAMS, 1, None, 200)
    except NotFound:
        return None


async def _update(
    call: Call,
    body: Body,
    present: frozenset[str],
    uniform: bool,
    record_id: str | None,
    match: list[int] | None,
) -> Answer:
    if record_id is not None:
        statement = statements.update_one(call.table, present)
        tail = f',"record":"{record_id}"' + _matching(match)
        return await _write(call, statement, tail, body.raw, 1, body, 200)
    statement = statements.update_many(call.table, present, uniform)
    return await _write(call, statement, "", body.raw, len(body.records), body, 200)


async def _write(
    call: Call, statement: Statement, tail: str, params: bytes, expect: int, body: Body | None, status: int
) -> Answer:
    ctx = f',"write":true,"operation":"{call.operation_id}","version":{call.table.version},"expect":{expect}'
    if call.key is not None:
        ctx += member("key", call.key.key) + member("hash", call.key.request_hash) + f',"status":{status}'
    try:
        return await _run(call, statement, f"{ctx}{tail}}}", params, MAX_RECORDS, body)
    except asyncpg.PostgresError as error:
        if error.sqlstate != "PB308":
            raise
    # It was done before: only now is it worth its while to send what answers it.
    replay = f"{ctx}{tail}{member('replay', statement.replay)}}}"
    return await _run(call, statement, replay, params, MAX_RECORDS, body)


async def _run(
    call: Call, statement: Statement, tail: str, params: bytes, max_affected: int, body: Body | None
) -> Answer:
    ctx = f'{call.claims.prefix},"catalog":{call.base.catalog}{tail}'
    try:
        return await call.home.run(ctx, statement, params, max_affected)
    except asyncpg.PostgresError as error:
        if error.sqlstate in MAY_BE_STALE and await call.catalog.has_changed(
            call.home, call.claims, call.base
        ):
            raise StaleSchema("the schema is changing") from error
        refusal = await _twins(call, error, body) or translated(error, call.table, body)
        if refusal is None:
            raise
        raise refusal from error


async def _twins(call: Call, error: asyncpg.PostgresError, body: Body | None) -> Conflict | None:
    """Where in a batch the values stand that are there already: RLS keeps PostgreSQL from saying so."""
    field = unique_field(error, call.table) if error.sqlstate == "23505" else None
    if field is None or body is None or body.one:
        return None
    ctx = f'{call.claims.prefix},"catalog":{call.base.catalog},"expect":0}}'
    try:
        found = await call.home.run(ctx, statements.twins(call.table, field), body.raw, 0)
    except asyncpg.PostgresError:
        return duplicate(field, [pointer("records")])
    places = json.loads(found.body or b"null") or []
    return duplicate(
        field, [pointer("records", n, "fields", field.name) for n in places] or [pointer("records")]
    )


def _matching(match: list[int] | None) -> str:
    return "" if match is None else member("match", match)
