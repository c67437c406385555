"""What a base looks like: its tables and fields, read as the tenant's own role and kept until they change."""

# ruff: noqa: S608  (names are made of ids)

import asyncio
import json
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from core.errors import NotFound, StaleRoute, StaleSchema
from core.ids import Ulid
from core.record import Field, Table, linked
from core.schema.types import TYPES
from core.view import READ_MEMBERS, View
from db.data import names
from db.data.homes import Claims, Home
from db.data.refusals import general
from db.data.statements import Statement

MAX_FIELDS = 200_000
"""How many fields of bases are kept in mind, each less than 1 KB with its part of table and base."""
TRUSTED_S = 0.2
"""How long a base that was compared with the database is believed to be as it was."""
_NO_TABLE = "there is no such table"
_NONE = b"{}"
_CHECK = Statement("select null::json, null::json")


@dataclass
class Base:
    """A base's tables and views at one version of its tenant's catalog."""

    catalog: int
    tables: dict[str, Table]
    views: dict[str, tuple[View, ...]] = field(default_factory=dict)
    """By table, in the order in which they are shown."""
    compared_at: float = field(default=-TRUSTED_S, compare=False)
    """When a refusal last made us look whether it is still like this, by the monotonic clock."""

    @property
    def size(self) -> int:
        """How much of `MAX_FIELDS` it takes."""
        return 1 + sum(len(table.fields) for table in self.tables.values())


class Catalog:
    """The bases in use. It need not be right: `platform.enter` refuses what is stale."""

    def __init__(self, max_fields: int = MAX_FIELDS) -> None:
        self._bases: OrderedDict[tuple[str, str], Base] = OrderedDict()
        self._loading: dict[tuple[str, str], asyncio.Future[Base]] = {}
        self._comparing: dict[tuple[str, str], asyncio.Future[bool]] = {}
        self._max_fields = max_fields
        self._fields = 0

    async def with_table(self, home: Home, claims: Claims, table_id: str) -> Base:
        """Return the claims' base, which has the table; NotFound where it has none such."""
        base = await self.base(home, claims)
        if table_id not in base.tables:
            # It may be newer than what we know.
            base = await self.present(home, claims, base)
            if table_id not in base.tables:
                raise NotFound(_NO_TABLE)
        return base

    async def base(self, home: Home, claims: Claims) -> Base:
        """Return the claims' base as it is known, loading it at its first use."""
        key = (claims.tenant_id, claims.base_id)
        base = self._bases.get(key)
        if base is not None:
            self._bases.move_to_end(key)
            return base
        return await self.reload(home, claims)

    async def present(self, home: Home, claims: Claims, known: Base) -> Base:
        """Return the claims' base as it is now; one comparison where `known` is still that."""
        try:
            await home.read(claims, known.catalog, _CHECK, _NONE)
        except asyncpg.PostgresError as error:
            if error.sqlstate == "PB002":
                return await self.reload(home, claims)
            raise general(error) or error from error
        return known

    async def has_changed(self, home: Home, claims: Claims, known: Base) -> bool:
        """Tell whether the claims' base is no longer as it was known."""
        try:
            return (await self.present(home, claims, known)).catalog != known.catalog
        except (StaleRoute, StaleSchema):
            return True

    async def is_old(self, home: Home, claims: Claims, known: Base) -> bool:
        """Tell the same to whoever is about to refuse by `known`; asks at most once per base and TRUSTED_S."""
        key = (claims.tenant_id, claims.base_id)
        current = self._bases.get(key)
        if current is not None and current.catalog != known.catalog:
            return True
        comparing = self._comparing.get(key)
        if comparing is None:
            now = time.monotonic()
            if now - known.compared_at < TRUSTED_S:
                return False
            known.compared_at = now
            comparing = self._comparing[key] = asyncio.ensure_future(self.has_changed(home, claims, known))
            comparing.add_done_callback(lambda _: self._comparing.pop(key, None))
        return await asyncio.shield(comparing)

    def forget(self, claims: Claims, stale: Base) -> None:
        """Forget a base that proved stale, unless it was loaded again since."""
        key = (claims.tenant_id, claims.base_id)
        if self._bases.get(key) is stale:
            self._drop(key)

    async def reload(self, home: Home, claims: Claims) -> Base:
        """Load the claims' base; callers at the same time share one load."""
        key = (claims.tenant_id, claims.base_id)
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.ensure_future(_load(home, claims))
            loading.add_done_callback(lambda _: self._loading.pop(key, None))
        base = await asyncio.shield(loading)
        if key in self._bases:
            self._drop(key)
        self._bases[key] = base
        self._fields += base.size
        while self._fields > self._max_fields and len(self._bases) > 1:
            self._drop(next(iter(self._bases)))
        return base

    def _drop(self, key: tuple[str, str]) -> None:
        self._fields -= self._bases.pop(key).size


async def _load(home: Home, claims: Claims) -> Base:
    tables, fields, views = (names.metadata(claims.tenant_id, kind) for kind in ("tables", "fields", "views"))
    read = ", ".join(f"'{member}', v.definition_json -> '{member}'" for member in READ_MEMBERS)
    statement = Statement(
        f"""select json_build_object(
                     'catalog', current_setting('pb.catalog')::bigint,
                     'tables', coalesce((select json_agg(t) from {tables} t where t.base_id = $2[1]), '[]'),
                     'fields', coalesce((select json_agg(f order by f.position, f.id) from {fields} f
                                          where f.base_id = $2[1]), '[]'),
                     'views', coalesce((select json_agg(json_build_object(
                                                 'id', v.id, 'table_id', v.table_id, 'name', v.name,
                                                 'definition', jsonb_build_object({read})::text)
                                               order by v.position, v.id) from {views} v
                                         where v.base_id = $2[1]), '[]')),
                   null::json"""
    )
    try:
        # Without a catalog version the fence tells its own, read before the metadata: never newer.
        answer = await home.read(claims, None, statement, _NONE, [claims.base_id])
    except asyncpg.PostgresError as error:
        raise general(error) or error from error
    found = json.loads(answer.body)
    by_table: dict[str, list[Field]] = {row["id"]: [] for row in found["tables"]}
    for row in found["fields"]:
        by_table[row["table_id"]].append(_field(row))
    views_of: dict[str, tuple[View, ...]] = {}
    for row in found["views"]:
        view = View(row["id"], row["name"], row["definition"])
        views_of[row["table_id"]] = (*views_of.get(row["table_id"], ()), view)
    complete = linked(Ulid(claims.tenant_id), by_table)
    return Base(
        found["catalog"],
        {
            row["id"]: Table(
                Ulid(claims.tenant_id),
                Ulid(claims.base_id),
                Ulid(row["id"]),
                row["name"],
                row["schema_version"],
                complete[row["id"]],
                row["trash_days"],
            )
            for row in found["tables"]
        },
        views_of,
    )


def _field(row: dict[str, Any]) -> Field:
    kind = TYPES[row["type"]]
    options = kind.options.model_validate(row["options_json"])
    return Field(row["id"], row["name"], kind, options, row["is_required"], row["is_unique"])
