"""Where a page of a log ended, as a cursor holds it: the last row's time and id."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api.paging import Cursors
from core.ids import Ulid
from db.logs import Mark


def read(cursors: Cursors, query: str, cursor: str | None) -> Mark | None:
    """Return the place that a cursor stands for."""
    if cursor is None:
        return None
    at, row_id = cursors.read(query, cursor)
    return datetime.fromisoformat(at), Ulid(row_id)


def write(cursors: Cursors, query: str, row: Mapping[Any, Any]) -> str:
    """Return the cursor for what comes after `row`."""
    return cursors.write(query, [row["occurred_at"].isoformat(), row["id"]])
