"""Tenants' homes: bounded pools on the data clusters, and the one call that enters a tenant."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import asyncpg
from pydantic_core import from_json, to_json

from core.errors import Unavailable
from db import pools
from db.data import prepared
from db.data.statements import BETWEEN, Statement
from db.lines import Lines, connect
from db.pools import Address
from db.together import Together

_FOR_ALL = frozenset({"PB001", "PB002"})
"""What is refused of all calls that go together, and not for the sake of one of them."""
_GONE = ("08", "57P")
"""The connection is lost, or the server is going: whether a write was done is not known."""
_AGAIN = frozenset({"40001", "40P01"})
"""Two writers met, and this one was rolled back: it is done now, or refused for what the other has written."""
_MOST_TIMES = 3
_LARGE_BYTES = 32_768
"""Where a record was as large as this lately, they do not go together: that would save nothing, and answers add up."""
_MAX_LARGE = 4_096


@dataclass(frozen=True)
class Claims:
    """Who calls, for which base, and where its tenant lives: what entering compares and sets."""

    tenant_id: str
    workspace_id: str
    base_id: str
    role: str
    generation: int
    token_id: str
    actor_id: str | None

    @cached_property
    def words(self) -> str:
        """What is compared with the policies, after the tenant."""
        return f"{self.workspace_id} {self.base_id} {self.role}"


@dataclass(frozen=True, slots=True)
class Key:
    """A call's Idempotency-Key, what tells it from another call with the same key, and the status it is kept with."""

    key: str
    request_hash: str
    status: int = 200


@dataclass(frozen=True, slots=True)
class Effect:
    """What a write is besides its statement: whose operation, on which schema, and how much it may do."""

    operation_id: str
    schema_version: int
    expect: int | None
    """How many rows it must affect; None where any number up to `most` is right."""
    most: int
    key: Key | None = None
    match: list[int] | None = None
    """The versions that may be changed; None for any."""
    coercions: bytes | None = None
    """What was coerced in the body, as JSON, kept for a repeated call."""
    is_dry: bool = False
    """Whether all of it is rolled back at the end."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Records that are written one by one or all together, and answered by rows."""

    sql: str
    otherwise: str
    """What tells each record's outcome, after `sql` and with a snapshot of its own."""
    taken: str | None
    """What finds the records to blame where a unique value was refused."""
    params: bytes
    ids: Sequence[str]
    each: bool
    """Whether what one record is refused for keeps no other from being written."""
    places: Sequence[int]
    """Where the records stand in the call, from 0."""
    refused: bytes = b"[]"
    """The rows of those that stand elsewhere in it."""


@dataclass(frozen=True, slots=True)
class One:
    """A write of one record that may go together with others."""

    record_id: str
    params: bytes
    effect: Effect

    @property
    def version(self) -> int | None:
        """The version that the record must have."""
        return self.effect.match[0] if self.effect.match else None

    @property
    def names(self) -> tuple[str, ...]:
        """What no two of them that go together have in common."""
        key = self.effect.key
        return (self.record_id,) if key is None else (self.record_id, f"key {key.key}")


class _Kind(NamedTuple):
    """What calls have in common that go together."""

    claims: Claims
    catalog: int
    schema_version: int
    statement: Statement


class Answer(NamedTuple):
    """What a run answered: JSON as it came, and the status of the first call where this one repeats it."""

    body: bytes
    hint: bytes | None
    replayed_status: int | None


_NOTHING = Answer(b"null", None, None)


class Home:
    """One data cluster, as the Data API's role: it may execute `platform.read`, `write` and `write_rows`."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._reads = Together(self._read_each)
        # A page may be large, and takes its time: a few at a time, on more than one processor.
        self._pages = Together(self._read_pages, most=4, at_once=2)
        self._writes = Together(self._write_each, lambda one: one.names)
        self._large: dict[str, float] = {}
        """By statement, how large its records are; each smaller one makes that a little less, until it is forgotten."""

    async def read(
        self,
        claims: Claims,
        catalog: int | None,
        statement: Statement,
        params: bytes,
        ids: Sequence[str] = (),
        *,
        within_s: float | None = None,
    ) -> Answer:
        """Enter the tenant, read by one statement, and leave; `within_s` is a bound for what may take long.

        Raises asyncpg.PostgresError as the database said it, Unavailable where it said nothing, or was going.
        """
        head = _entering(claims, catalog)
        if within_s is None:
            row = await self._lent(
                claims.tenant_id, prepared.called, prepared.READ, head, statement, (params, ids)
            )
        else:
            row = await self._lent(
                claims.tenant_id, prepared.bounded, within_s, *head, None, statement.sql, params, ids
            )
        return Answer(row[0], row[1], None)

    async def write(
        self,
        claims: Claims,
        catalog: int,
        effect: Effect,
        statement: Statement,
        params: bytes,
        ids: Sequence[str] = (),
        *,
        replay: bool = False,
    ) -> Answer:
        """Enter the tenant, write by one statement, and leave; all of it or nothing.

        `replay` sends along what answers a call that was done before. Raises as `read` does.
        """
        tail = (
            statement.otherwise,
            statement.replay if replay else None,
            params,
            ids,
            effect.match,
            effect.expect,
            effect.most,
            effect.coercions,
        )
        head = _writing(claims, catalog, effect)
        if effect.is_dry:
            row = await self._lent(
                claims.tenant_id, prepared.undone, prepared.WRITE, *head, None, statement.sql, *tail
            )
        else:
            row = await self._lent(claims.tenant_id, prepared.called, prepared.WRITE, head, statement, tail)
        return Answer(row[0], row[1], row[2])

    async def write_rows(self, claims: Claims, catalog: int, effect: Effect, rows: Rows) -> Answer:
        """Enter the tenant, write records and tell of each, and leave. Raises as `read` does."""
        head = _writing(claims, catalog, effect)
        tail = (
            rows.sql,
            rows.otherwise,
            rows.taken,
            rows.params,
            rows.ids,
            rows.each,
            rows.places,
            rows.refused,
            effect.coercions,
        )
        call = prepared.undone if effect.is_dry else prepared.done
        row = await self._lent(claims.tenant_id, call, prepared.ROWS, *head, *tail)
        return Answer(row[0], row[0], row[1])

    async def read_one(
        self, claims: Claims, catalog: int, statement: Statement, of_many: Statement, record_id: str
    ) -> Answer:
        """Read one record by `statement`, or, with others that are asked for at the same time, by `of_many`."""

        async def alone() -> Answer:
            return self._weighed(of_many, await self.read(claims, catalog, statement, b"{}", (record_id,)))

        if of_many.name in self._large:
            return await alone()
        return await self._reads(_Kind(claims, catalog, 0, of_many), record_id, alone)

    async def read_page(self, claims: Claims, catalog: int, statement: Statement, params: bytes) -> Answer:
        """Read by a statement that is kept, together with others that do so with other parameters at the same time."""

        async def alone() -> Answer:
            return await self.read(claims, catalog, statement, params)

        return await self._pages(_Kind(claims, catalog, 0, statement), params, alone)

    async def write_one(
        self, claims: Claims, catalog: int, statement: Statement, of_many: Statement, one: One
    ) -> Answer:
        """Write one record by `statement`, or, with others that the same token writes at the same time, by `of_many`.

        Raises as `read` does. Where the statement is refused, each is written by itself.
        """

        async def alone() -> Answer:
            answer = await self.write(claims, catalog, one.effect, statement, one.params, (one.record_id,))
            return self._weighed(of_many, answer)

        if of_many.name in self._large:
            return await alone()
        return await self._writes(_Kind(claims, catalog, one.effect.schema_version, of_many), one, alone)

    async def _read_each(self, kind: _Kind, ids: Sequence[str]) -> list[Answer | None]:
        row = await self._of_all(kind, prepared.READ, _entering(kind.claims, kind.catalog), (b"{}", ids))
        if row is None:
            return [None] * len(ids)
        found: list[Answer | None] = [_NOTHING] * len(ids)
        for body, (n, version) in _each(row):
            found[n - 1] = self._weighed(kind.statement, Answer(body, b"%d" % version, None))
        return found

    async def _read_pages(self, kind: _Kind, pages: Sequence[bytes]) -> list[Answer | None]:
        # Who asks for the same is answered the same.
        asked = list(dict.fromkeys(pages))
        rows = await self._of_all(
            kind, prepared.READ_TOGETHER, _entering(kind.claims, kind.catalog), (asked,), several=True
        )
        if rows is None:
            return [None] * len(pages)
        found = {page: Answer(row[0], row[1], None) for page, row in zip(asked, rows, strict=True)}
        return [found[page] for page in pages]

    async def _write_each(self, kind: _Kind, ones: Sequence[One]) -> list[Answer | None]:
        keys = [one.effect.key for one in ones]
        is_keyed = any(key is not None for key in keys)
        claims = kind.claims
        row = await self._of_all(
            kind,
            prepared.TOGETHER,
            (*_entering(claims, kind.catalog), kind.schema_version, claims.token_id, claims.actor_id),
            (
                b"[" + b",".join([one.params for one in ones]) + b"]",
                [one.record_id for one in ones],
                [one.version for one in ones],
                [one.effect.operation_id for one in ones],
                [None if key is None else key.key for key in keys] if is_keyed else None,
                [None if key is None else key.request_hash for key in keys],
                next((key.status for key in keys if key is not None), None),
            ),
        )
        if row is None:
            return [None] * len(ones)
        found = {
            kept["id"]: self._weighed(kind.statement, Answer(body, to_json([kept]), None))
            for body, kept in _each(row)
        }
        return [found.get(one.record_id) for one in ones]

    async def _of_all(
        self, kind: _Kind, which: int, head: tuple[Any, ...], tail: tuple[Any, ...], *, several: bool = False
    ) -> Any:
        """Return what calls together are answered; None where nothing of them was done, and each is to go alone."""
        try:
            return await self._lent(
                kind.claims.tenant_id, prepared.called, which, head, kind.statement, tail, several=several
            )
        except asyncpg.PostgresError as error:
            if error.sqlstate in _FOR_ALL:
                raise
            return None

    def _weighed(self, of_many: Statement, answer: Answer) -> Answer:
        """Keep in mind how large the record in an answer is."""
        bytes_, known = len(answer.body or b""), self._large.get(of_many.name)
        if known is None and bytes_ <= _LARGE_BYTES:
            return answer
        if known is None and len(self._large) >= _MAX_LARGE:
            self._large.clear()
        self._large[of_many.name] = now = max(bytes_, (known or 0) * 0.9)
        if now <= _LARGE_BYTES:
            del self._large[of_many.name]
        return answer

    async def close(self) -> None:
        """Close the connections; what is under way has a few seconds."""
        await self._lines.close()

    async def _lent(
        self, tenant_id: str, call: Callable[..., Awaitable[Any]], *args: Any, **named: Any
    ) -> Any:
        """Return what `call` does with a connection; raises asyncpg.PostgresError only where nothing was done."""
        try:
            conn = await self._lines.take(tenant_id)
        except pools.NO_CONNECTION as error:
            raise Unavailable("the tenant's database does not answer") from error
        try:
            for _ in range(_MOST_TIMES - 1):
                try:
                    return await call(conn, *args, **named)
                except asyncpg.PostgresError as error:
                    if error.sqlstate not in _AGAIN:
                        raise
            return await call(conn, *args, **named)
        except asyncpg.PostgresError as error:
            if str(error.sqlstate).startswith(_GONE):
                raise Unavailable("the tenant's database does not answer") from error
            raise
        except pools.AWAY as error:
            conn.terminate()
            raise Unavailable("the tenant's database does not answer") from error
        except BaseException:
            conn.terminate()  # what it was doing is not known to have ended
            raise
        finally:
            self._lines.give(conn)


class Homes:
    """The homes in use, one per cluster, with this process's one credential."""

    def __init__(self, user: str, password: str, *, pool_max_size: int) -> None:
        self._credential = {"user": user, "password": password}
        self._pool_max_size = pool_max_size
        self._homes: dict[Address, Home] = {}

    def at(self, address: Address) -> Home:
        """Return the home at `address`; nothing connects before its first run."""
        home = self._homes.get(address)
        if home is None:
            open_line = partial(connect, prepared.CALLS, **address._asdict(), **self._credential)
            home = self._homes[address] = Home(Lines(open_line, max_size=self._pool_max_size))
        return home

    async def close(self) -> None:
        """Close all homes."""
        await asyncio.gather(*(home.close() for home in self._homes.values()))


def _each(row: Any) -> Iterator[tuple[bytes, Any]]:
    """Yield the records that calls together were answered, as JSON, and what was told of each."""
    if row[0] is None:
        return iter(())
    return zip(row[0][1:-1].split(BETWEEN), from_json(row[1]), strict=True)


def _entering(claims: Claims, catalog: int | None) -> tuple[Any, ...]:
    return (claims.tenant_id, claims.words, claims.generation, catalog)


def _writing(claims: Claims, catalog: int, effect: Effect) -> tuple[Any, ...]:
    key = effect.key
    named = (None, None, None) if key is None else (key.key, key.request_hash, key.status)
    return (
        *_entering(claims, catalog),
        effect.schema_version,
        claims.token_id,
        claims.actor_id,
        effect.operation_id,
        *named,
    )
