"""Another time during which deleted records can be restored: metadata only."""

from typing import Literal

from core.schema.ops.base import Op, Phase, change_table
from core.schema.spec import BaseSpec


class SetTrash(Op):
    """Set for how many days a table's deleted records can be restored; those that are deleted already too."""

    kind: Literal["set_trash"] = "set_trash"
    table_id: str
    table: str
    old_days: int
    new_days: int

    phase = Phase.ARRANGE

    @property
    def subject(self) -> str:
        """The table."""
        return self.table_id

    def label(self) -> str:
        """Say how long it was and will be."""
        return f"Keep deleted records of {self.table!r} for {self.new_days} days instead of {self.old_days}"

    def apply(self, spec: BaseSpec) -> BaseSpec:
        """The new time."""
        return _kept(spec, self.table_id, self.new_days)

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """The old time."""
        return _kept(spec, self.table_id, self.old_days)


def _kept(spec: BaseSpec, table_id: str, days: int) -> BaseSpec:
    return change_table(spec, table_id, lambda table: table.model_copy(update={"trash_days": days}))
