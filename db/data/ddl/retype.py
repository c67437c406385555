"""What change_options and change_type share: another type for a column, in place."""

from core.errors import Conflict
from db.data import names
from db.data.ddl.base import MAX_REWRITE_ROWS, Check, Sql, Target


def retype(target: Target, table_id: str, field_id: str, storage: tuple[str, str]) -> list[Sql]:
    """Return what gives the column its new type, if that is another one."""
    old, new = storage
    if old == new:
        return []
    table = names.table(target.tenant_id, table_id)
    return [Sql(f"alter table {table} alter column {names.column(field_id)} type {new}")]


def small_enough(target: Target, table_id: str, table: str, field: str | None) -> Check:
    """Return the count, as far as it matters, of the records that would be written again."""
    physical = names.table(target.tenant_id, table_id)
    instead = f": add a new field beside {field!r}, copy the values, then drop the old one" if field else ""
    return Check(
        Sql(f"select count(*) from (select from {physical} limit {MAX_REWRITE_ROWS + 1}) as counted"),  # noqa: S608
        "table_too_large",
        lambda _: (
            f"{table!r} has more than {MAX_REWRITE_ROWS} records, all of which would be written again while"
            f" nobody can use it{instead}"
        ),
        Conflict,
        limit=MAX_REWRITE_ROWS,
    )
