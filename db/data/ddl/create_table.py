"""Make the physical table of a logical one: columns, forced row-level security, grants, change triggers."""

from core.schema.ops.create_table import CreateTable
from core.schema.spec import FieldSpec
from db.data import names
from db.data.ddl import metadata
from db.data.ddl.base import Ddl, Sql, Target

_WRITERS = ("editor", "admin", "owner")


def up(op: CreateTable, target: Target) -> list[Sql]:
    """Return what makes the table and tells of it."""
    table, key = names.table(target.tenant_id, op.table.key), op.table.key
    fields = "".join(f",\n  {column(field)}" for field in op.table.fields)
    return [
        Sql(
            f"""create table {table} (
  id platform.ulid constraint {names.quoted(names.key_name(key))} primary key,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  created_by platform.ulid,
  updated_at timestamptz not null default now(),
  updated_by platform.ulid,
  extra jsonb{fields}
)"""
        ),
        Sql(f"create index {names.quoted(names.created_name(key))} on {table} (created_at, id)"),
        *(Sql(_unique(table, field.key)) for field in op.table.fields if field.unique),
        *(Sql(ordered(table, field.key)) for field in op.table.fields if field.kind.indexed),
        *map(Sql, _security(table, target)),
        *map(Sql, _triggers(table, key, target)),
        metadata.add_table(target, op.table),
        metadata.add_fields(target, key, op.table.fields),
        metadata.add_views(target, key, op.table.views),
    ]


def down(op: CreateTable, target: Target) -> list[Sql]:
    """Return what makes it as if it had never been."""
    return [
        Sql(f"drop table {names.table(target.tenant_id, op.table.key)}"),
        metadata.remove(target, "tables", op.table.key),
    ]


def column(field: FieldSpec) -> str:
    """Return the definition of a field's column."""
    storage = field.kind.storage(field.settings)
    required = (
        f" constraint {names.quoted(names.required_name(field.key))} not null" if field.required else ""
    )
    return f"{names.column(field.key)} {storage}{required}"


def _unique(table: str, field_id: str) -> str:
    name = names.quoted(names.unique_name(field_id))
    return f"create unique index {name} on {table} ({names.column(field_id)})"


def ordered(table: str, field_id: str, create: str = "create index") -> str:
    """Return what makes the index in the order of a field: the id ends it, as it ends every sort."""
    name = names.quoted(names.order_name(field_id))
    return f"{create} {name} on {table} ({names.column(field_id)}, id)"


def _security(table: str, target: Target) -> list[str]:
    role = names.role(target.tenant_id)
    base = (target.tenant_id, target.workspace_id, target.base_id)
    writers = ", ".join(names.claims(*base, role) for role in _WRITERS)
    # One sub-select: it is run once per statement and not once per row, and the planner takes its yes or no for half
    # the rows. Comparisons of sub-selects it takes for a row or none, and would sort a table to list its first page.
    claims = "current_setting('pb.claims', true)"
    read, write = (
        f"(select starts_with({claims}, {names.claims(*base)}))",
        f"(select {claims} in ({writers}))",
    )
    return [
        f"alter table {table} enable row level security, force row level security",
        f"create policy reads on {table} for select to {role} using ({read})",
        f"create policy creates on {table} for insert to {role} with check ({write})",
        f"create policy updates on {table} for update to {role} using ({write}) with check ({write})",
        f"create policy deletes on {table} for delete to {role} using ({write})",
        f"grant select, insert, update, delete on {table} to {role}",
        f"grant select on {table} to tenant_reader",
    ]


def _triggers(table: str, table_id: str, target: Target) -> list[str]:
    ids = ", ".join(
        names.literal(part) for part in (target.tenant_id, target.workspace_id, target.base_id, table_id)
    )
    old, new = "old table as old_rows", "new table as new_rows"
    return [
        f"create trigger log_{name} after {event} on {table} referencing {rows}"
        f" for each statement execute function platform.log_{name}({ids})"
        for name, event, rows in (
            ("create", "insert", new),
            ("update", "update", f"{old} {new}"),
            ("delete", "delete", old),
        )
    ]


DDL = Ddl(CreateTable, up, down)
