"""A new field: empty in the records that are there, unless it is computed."""

from typing import Literal

from core.schema.ops.base import Lock, Op, Phase, change_table
from core.schema.spec import BaseSpec, FieldSpec, TableSpec


class AddField(Op):
    """Add a field to a table; a required one only while the table is empty."""

    kind: Literal["add_field"] = "add_field"
    table_id: str
    table: str
    field: FieldSpec

    phase = Phase.CREATE

    def locks(self) -> Lock:
        """As much as its column needs."""
        if self.field.kind.numbered:
            return Lock.REWRITE
        return Lock.MOMENT if self.field.kind.source is None else Lock.NOTHING

    @property
    def subject(self) -> str:
        """The field."""
        return self.field.key

    def label(self) -> str:
        """Say what is added and where."""
        required = "required " if self.field.required else ""
        return f"Add the {required}field {self.field.name!r} ({self.field.type}) to {self.table!r}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """One field more."""

        def add(table: TableSpec) -> TableSpec:
            return table.model_copy(update={"fields": (*table.fields, self.field)})

        return change_table(spec, self.table_id, add)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """Without it."""

        def remove(table: TableSpec) -> TableSpec:
            kept = tuple(field for field in table.fields if field.id != self.field.id)
            return table.model_copy(update={"fields": kept})

        return change_table(spec, self.table_id, remove)
