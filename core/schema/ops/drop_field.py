"""A field goes, with its values."""

from typing import Literal

from core.schema.ops.base import FieldOp, Lock, Phase, change_table
from core.schema.spec import BaseSpec, TableSpec


class DropField(FieldOp):
    """Drop a field and its value in every record."""

    kind: Literal["drop_field"] = "drop_field"
    has_column: bool = True
    is_link: bool = False

    phase = Phase.DROP_FIELD
    destructive = True
    reversible = False

    def locks(self) -> Lock:
        """As much as its column needs."""
        return Lock.MOMENT if self.has_column else Lock.NOTHING

    def label(self) -> str:
        """Say what is lost."""
        values = " with its values" if self.has_column else ""
        return f"Drop the field {self.field!r} of {self.table!r}{values}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """Without it."""

        def remove(table: TableSpec) -> TableSpec:
            table.field(self.field_id)
            kept = tuple(field for field in table.fields if field.id != self.field_id)
            return table.model_copy(update={"fields": kept})

        return change_table(spec, self.table_id, remove)
