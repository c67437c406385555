"""The rows that tell the Data API what a base looks like; they change in the transaction of the DDL."""

import json
from collections.abc import Sequence
from typing import Any

import asyncpg

from core.schema.spec import BaseSpec, FieldSpec, TableSpec, ViewSpec
from db.data import names
from db.data.ddl.base import Sql, Target


def add_table(target: Target, table: TableSpec) -> Sql:
    """Insert the row of a table, last of its base."""
    tables = names.metadata(target.tenant_id, "tables")
    return Sql(
        f"insert into {tables} (id, base_id, name, display_name, trash_days, position)"  # noqa: S608
        " select $1::text, $2::text, $3, $4, $5, coalesce(max(position) + 1, 0)"
        f" from {tables} where base_id = $2::text",
        (table.key, target.base_id, table.name, table.display_name, table.trash_days),
    )


def add_fields(target: Target, table_id: str, fields: Sequence[FieldSpec]) -> Sql:
    """Insert the rows of fields, last of their table, in the given order."""
    rows = names.metadata(target.tenant_id, "fields")
    return Sql(
        f"insert into {rows} (id, base_id, table_id, name, type, options_json,"  # noqa: S608
        " is_required, is_unique, position)"
        " select new.value ->> 'id', $1::text, $2::text, new.value ->> 'name', new.value ->> 'type',"
        " new.value -> 'options', (new.value ->> 'required')::boolean, (new.value ->> 'unique')::boolean,"
        f" new.nth + coalesce((select max(position) from {rows} where table_id = $2::text), -1)"
        " from jsonb_array_elements($3::text::jsonb) with ordinality as new(value, nth)",
        (target.base_id, table_id, json.dumps([field.model_dump(mode="json") for field in fields])),
    )


def add_views(target: Target, table_id: str, views: Sequence[ViewSpec]) -> Sql:
    """Insert the rows of views, last of their table, in the given order."""
    rows = names.metadata(target.tenant_id, "views")
    return Sql(
        f"insert into {rows} (id, base_id, table_id, name, kind, definition_json, position)"  # noqa: S608
        " select new.value ->> 'id', $1::text, $2::text, new.value ->> 'name', new.value ->> 'kind',"
        " new.value -> 'definition',"
        f" new.nth + coalesce((select max(position) from {rows} where table_id = $2::text), -1)"
        " from jsonb_array_elements($3::text::jsonb) with ordinality as new(value, nth)",
        (target.base_id, table_id, json.dumps([view.model_dump(mode="json") for view in views])),
    )


def set_view(target: Target, view: ViewSpec) -> Sql:
    """Bring the row of a view up to date."""
    return Sql(
        f"update {names.metadata(target.tenant_id, 'views')}"  # noqa: S608
        " set name = $2, kind = $3, definition_json = $4::text::jsonb, updated_at = now() where id = $1",
        (view.key, view.name, view.kind, json.dumps(view.definition)),
    )


def rename_table(target: Target, table_id: str, name: str, display_name: str | None) -> Sql:
    """Give a table other names; a change of its version like any other."""
    return Sql(
        f"update {names.metadata(target.tenant_id, 'tables')} set name = $2, display_name = $3,"  # noqa: S608
        " schema_version = schema_version + 1, updated_at = now() where id = $1",
        (table_id, name, display_name),
    )


def set_trash(target: Target, table_id: str, days: int) -> Sql:
    """Set for how long a table's deleted records can be restored; a change of its version like any other."""
    return Sql(
        f"update {names.metadata(target.tenant_id, 'tables')} set trash_days = $2,"  # noqa: S608
        " schema_version = schema_version + 1, updated_at = now() where id = $1",
        (table_id, days),
    )


def set_column(target: Target, field_id: str, column: str, value: object) -> Sql:
    """Set one column (`name`, `is_required` …) of a field's row."""
    return Sql(
        f"update {names.metadata(target.tenant_id, 'fields')}"  # noqa: S608
        f" set {names.quoted(column)} = $2, updated_at = now() where id = $1",
        (field_id, value),
    )


def set_type(target: Target, field_id: str, type_name: str, options: dict[str, object]) -> Sql:
    """Set the type and options of a field's row."""
    return Sql(
        f"update {names.metadata(target.tenant_id, 'fields')}"  # noqa: S608
        " set type = $2, options_json = $3::text::jsonb, updated_at = now() where id = $1",
        (field_id, type_name, json.dumps(options)),
    )


def remove(target: Target, kind: str, entry_id: str) -> Sql:
    """Delete a row of `tables`, `fields` or `views`, and what belongs to it."""
    return Sql(f"delete from {names.metadata(target.tenant_id, kind)} where id = $1", (entry_id,))  # noqa: S608


def arrange(target: Target, kind: str, order: Sequence[str]) -> Sql:
    """Put rows of `tables`, `fields` or `views` in the given order."""
    return Sql(
        f"update {names.metadata(target.tenant_id, kind)} as entry"  # noqa: S608
        " set position = new.nth - 1, updated_at = now()"
        " from unnest($1::text[]) with ordinality as new(id, nth) where entry.id = new.id",
        (list(order),),
    )


def touch(target: Target, table_id: str) -> Sql:
    """Count up the version of a table, by which readers know that what they compiled for it is old."""
    return Sql(
        f"update {names.metadata(target.tenant_id, 'tables')}"  # noqa: S608
        " set schema_version = schema_version + 1, updated_at = now() where id = $1",
        (table_id,),
    )


async def read_base(conn: asyncpg.Connection, target: Target) -> BaseSpec:
    """Return the base as its metadata tells; run as a role that sees it."""

    async def rows(kind: str) -> list[asyncpg.Record]:
        return await conn.fetch(
            f"select to_jsonb(entry)::text as entry from {names.metadata(target.tenant_id, kind)} as entry"  # noqa: S608
            " where base_id = $1 order by position, id",
            target.base_id,
        )

    fields: dict[str, list[FieldSpec]] = {}
    for row in map(_plain, await rows("fields")):
        field = FieldSpec(
            id=row["id"],
            name=row["name"],
            type=row["type"],
            options=row["options_json"],
            required=row["is_required"],
            unique=row["is_unique"],
        )
        fields.setdefault(row["table_id"], []).append(field)
    views: dict[str, list[ViewSpec]] = {}
    for row in map(_plain, await rows("views")):
        view = ViewSpec(id=row["id"], name=row["name"], kind=row["kind"], definition=row["definition_json"])
        views.setdefault(row["table_id"], []).append(view)
    tables = [
        TableSpec(
            id=row["id"],
            name=row["name"],
            display_name=row["display_name"],
            trash_days=row["trash_days"],
            fields=tuple(fields.get(row["id"], ())),
            views=tuple(views.get(row["id"], ())),
        )
        for row in map(_plain, await rows("tables"))
    ]
    return BaseSpec(tables=tuple(tables))


def _plain(record: asyncpg.Record) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(record["entry"])
    return row
