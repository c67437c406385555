"""Reading an append-only log: newest first, over its partitions and the rows that came too late for one."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, MetaData, Select, Table, select, tuple_, union_all

from core.ids import Ulid

Mark = tuple[datetime, Ulid]
"""Where a page ended: its last row's time and id."""
Conditions = Callable[[Table], Sequence[ColumnElement[bool]]]


def late(table: Table) -> Table:
    """Return the table beside `table` that holds rows of months without a partition."""
    return table.to_metadata(MetaData(), name=f"{table.name}_late")


def newest(table: Table, conditions: Conditions, *, before: Mark | None, limit: int) -> Select[Any]:
    """Return the query for a log's rows that fit, newest first, those before `before`."""
    # Each half is sorted and cut by itself, so that each can walk its own index.
    halves = [_half(each, conditions, before, limit).subquery() for each in (table, late(table))]
    both = union_all(*(select(half) for half in halves)).subquery()
    return select(both).order_by(both.c.occurred_at.desc(), both.c.id.desc()).limit(limit)


def _half(table: Table, conditions: Conditions, before: Mark | None, limit: int) -> Select[Any]:
    query = select(table).where(*conditions(table))
    if before is not None:
        # The first comparison says nothing new; it lets the planner leave out younger partitions.
        query = query.where(
            table.c.occurred_at <= before[0], tuple_(table.c.occurred_at, table.c.id) < before
        )
    return query.order_by(table.c.occurred_at.desc(), table.c.id.desc()).limit(limit)
