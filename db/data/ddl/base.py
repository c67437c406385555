"""What an operation is in SQL: statements up and down, and the look at the data that may refuse it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from core.errors import Fault, Invalid, PlanebaseError
from core.ids import Ulid
from core.schema.ops import Op

STEP_TIMEOUT_S = 5
SCAN_TIMEOUT_S = 300
MAX_REWRITE_ROWS = 40_000
"""Measured at 2.4 µs a row: writers of the table wait for about 100 ms."""


@dataclass(frozen=True)
class Target:
    """The base whose schema changes, where it lives now, and which version of it is being made."""

    tenant_id: Ulid
    workspace_id: Ulid
    base_id: Ulid
    schema_version: int
    generation: int


class Sql(NamedTuple):
    """One statement with its parameters."""

    text: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Check:
    """A count in the data that refuses a step unless it is 0, or at most `limit`."""

    count: Sql
    code: str
    words: Callable[[int], str]
    error: type[PlanebaseError] = Invalid
    limit: int = 0

    def fault(self, found: int, pointer: str) -> Fault | None:
        """Return what is wrong when `found` were counted."""
        return Fault(pointer, self.code, self.words(found)) if found > self.limit else None


@dataclass(frozen=True)
class Index:
    """An index that is built while reads and writes go on."""

    schema: str
    name: str
    create: str


O = TypeVar("O", bound=Op)  # noqa: E741


@dataclass(frozen=True)
class Ddl(Generic[O]):
    """The SQL of one kind of operation."""

    op: type[O]
    up: Callable[[O, Target], list[Sql]]
    """All that commits together with the ledger; after the index where there is one."""
    down: Callable[[O, Target], list[Sql]] | None = None
    check: Callable[[O, Target], Check | None] | None = None
    """What to count before anything is done, and again to say why a step was refused."""
    fenced: bool = False
    """Whether the tenant's writers must be out of the way while the count is taken and the step commits."""
    index: Callable[[O, Target], Index] | None = None
    timeout_s: int = STEP_TIMEOUT_S


def records(count: int) -> str:
    """Say how many records; never which, since values are the tenant's."""
    return f"{count} record{'' if count == 1 else 's'}"
