"""What links mean between the tables of one base: which table is meant, and which names their inverses take."""

from core.errors import Fault
from core.schema.closed import nearest, pointer
from core.schema.naming import fold
from core.schema.spec import SYSTEM_FIELDS, BaseSpec, FieldSpec, TableSpec


def resolve(spec: BaseSpec) -> tuple[BaseSpec, tuple[Fault, ...]]:
    """Return the spec, whose entries have ids, with the linked table's id in each link, and what is wrong with them."""
    by_id = {table.key: table for table in spec.tables}
    by_name = {fold(table.name): table for table in spec.tables}
    taken = {table.key: {fold(field.name) for field in table.fields} for table in spec.tables}
    found: list[Fault] = []

    def resolved(field: FieldSpec, at: str) -> FieldSpec:
        if not field.kind.paired:
            return field
        named, inverse = field.options["table"], field.options["inverse"]
        target = by_id.get(named) or by_name.get(fold(named))
        if target is None:
            words = nearest("table", named, [table.name for table in spec.tables])
            found.append(
                Fault(f"{at}/options/table", "unknown_table", f"{words}; drop a link with its table")
            )
            return field
        if inverse is not None:
            fault = _why_not(inverse, target, taken[target.key])
            if fault is not None:
                found.append(Fault(f"{at}/options/inverse", *fault))
            taken[target.key].add(fold(inverse))
        return field.model_copy(update={"options": field.options | {"table": target.key}})

    tables = []
    for n, table in enumerate(spec.tables):
        at = pointer("tables", n, "fields")
        fields = tuple(resolved(field, f"{at}/{m}") for m, field in enumerate(table.fields))
        tables.append(table.model_copy(update={"fields": fields}))
    return spec.model_copy(update={"tables": tuple(tables)}), tuple(found)


def _why_not(inverse: str, target: TableSpec, taken: set[str]) -> tuple[str, str] | None:
    if fold(inverse) in SYSTEM_FIELDS:
        return "reserved_name", f"every record has its own {inverse}"
    if fold(inverse) in taken:
        return "duplicate_name", f"{target.name!r} has a field called {inverse!r} already"
    return None
