"""A link's pairs: a table behind the same walls as the records, and the triggers that keep it."""

from db.data import names
from db.data.ddl.base import Sql, Target
from db.data.ddl.walls import security

_EVENTS = {
    "insert": "new table as new_rows",
    "update": "old table as old_rows new table as new_rows",
    "delete": "old table as old_rows",
}


def made(target: Target, table_id: str, field_id: str) -> list[Sql]:
    """Return what makes them, empty as a new link is."""
    table, pairs = names.table(target.tenant_id, table_id), names.pairs(target.tenant_id, field_id)
    key, by_source = names.pairs_key_name(field_id), names.pairs_source_name(field_id)
    arguments = ", ".join(
        f"'{name}'"
        for name in (
            names.schema_name(target.tenant_id),
            names.pairs_name(field_id),
            names.column_name(field_id),
        )
    )
    return [
        Sql(
            f"create table {pairs} (target platform.ulid not null, source platform.ulid not null,"
            f" constraint {names.quoted(key)} primary key (target, source))"
        ),
        Sql(f"create index {names.quoted(by_source)} on {pairs} (source)"),
        *map(Sql, security(pairs, target, "select, insert, delete")),
        *(
            Sql(
                f"create trigger {names.quoted(names.pairs_trigger_name(field_id, event))} after {event} on {table}"
                f" referencing {rows} for each statement execute function platform.pair_links({arguments})"
            )
            for event, rows in _EVENTS.items()
        ),
    ]


def unmade(target: Target, table_id: str, field_id: str) -> list[Sql]:
    """Return what drops them while the table of the records stays."""
    table = names.table(target.tenant_id, table_id)
    return [
        *(
            Sql(f"drop trigger {names.quoted(names.pairs_trigger_name(field_id, event))} on {table}")
            for event in _EVENTS
        ),
        dropped(target, field_id),
    ]


def dropped(target: Target, field_id: str) -> Sql:
    """Return what drops them once no trigger keeps them any more."""
    return Sql(f"drop table {names.pairs(target.tenant_id, field_id)}")
