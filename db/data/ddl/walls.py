"""The walls around what a table holds: forced row-level security and grants, made of the ids of its base."""

from db.data import names
from db.data.ddl.base import Target

_WRITERS = ("editor", "admin", "owner")


def security(table: str, target: Target, rights: str = "select, insert, update, delete") -> list[str]:
    """Return what puts a table behind both walls: the role's grants, and policies that compare the claims."""
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
        f"grant {rights} on {table} to {role}",
        f"grant select on {table} to tenant_reader",
    ]
