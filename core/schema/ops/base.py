"""What every operation says about itself; what it does in SQL stands in db/data/ddl, under the same name."""

from abc import abstractmethod
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from core.schema.spec import BaseSpec, TableSpec


class Phase(IntEnum):
    """When an operation comes.

    All that may be refused comes before all that cannot be undone, and what loses data comes last: whatever
    fails, the steps done so far can be undone, or those that are left can only succeed.
    """

    RENAME = 1
    CREATE = 2
    ARRANGE = 3
    TIGHTEN = 4  # may be refused, because of what records hold
    LOOSEN = 5  # records written afterwards may not fit what was before
    DROP_VIEW = 6
    DROP_FIELD = 7
    DROP_TABLE = 8


class Lock(StrEnum):
    """What others notice while an operation runs."""

    NOTHING = "nothing: metadata only"
    MOMENT = "ACCESS EXCLUSIVE on the table, for a moment"
    ONLINE = "SHARE UPDATE EXCLUSIVE on the table: reads and writes go on"
    REWRITE = "ACCESS EXCLUSIVE on the table while every row is written again"
    FENCE = "the tenant's writes wait while the table is counted"


class Op(BaseModel):
    """One ordered step from one spec to the next."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    pointer: str
    """Where in the desired spec this step comes from."""

    phase: ClassVar[Phase]
    destructive: ClassVar[bool] = False
    """Whether something is lost that nobody can bring back; needs its confirmation."""
    reversible: ClassVar[bool] = True
    """Whether it can be undone whatever was written since."""
    transactional: ClassVar[bool] = True
    """Whether DDL, metadata and ledger commit together; otherwise the step looks what is there, then acts."""
    lock: ClassVar[Lock] = Lock.NOTHING

    @property
    @abstractmethod
    def subject(self) -> str:
        """The id of what changes."""

    @abstractmethod
    def label(self) -> str:
        """Say in plain words what is done."""

    @abstractmethod
    def apply(self, spec: BaseSpec) -> BaseSpec:
        """Return the spec after this step."""

    def revert(self, spec: BaseSpec) -> BaseSpec:
        """Return the spec with this step undone."""
        raise NotImplementedError(f"{self.kind} cannot be undone")

    def locks(self) -> Lock:
        """Say what others notice while it runs."""
        return self.lock

    @property
    def confirmation(self) -> str | None:
        """What a caller must send to have this done, where something is lost."""
        return f"{self.kind}:{self.subject}" if self.destructive else None


class FieldOp(Op):
    """An operation on one field; `table` and `field` are their names, for people."""

    table_id: str
    field_id: str
    table: str
    field: str

    @property
    def subject(self) -> str:
        """The field."""
        return self.field_id


def change_table(spec: BaseSpec, table_id: str, change: Callable[[TableSpec], TableSpec]) -> BaseSpec:
    """Return the spec with one table changed."""
    spec.table(table_id)
    tables = tuple(change(table) if table.id == table_id else table for table in spec.tables)
    return spec.model_copy(update={"tables": tables})


def change_field(spec: BaseSpec, table_id: str, field_id: str, **new: Any) -> BaseSpec:
    """Return the spec with members of one field changed."""

    def change(table: TableSpec) -> TableSpec:
        table.field(field_id)
        fields = tuple(
            field.model_copy(update=new) if field.id == field_id else field for field in table.fields
        )
        return table.model_copy(update={"fields": fields})

    return change_table(spec, table_id, change)
