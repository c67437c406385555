"""Effects in other databases: rows that the relay carries there, written with their cause."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import insert

from core.ids import Ulid
from db.control.models import Outbox
from db.sessions import ControlSession


async def add(
    session: ControlSession,
    destination: Literal["activity", "audit"],
    id: Ulid,  # noqa: A002  (the row's column)
    occurred_at: datetime,
    row: Mapping[str, Any],
) -> None:
    """Send `row` to the log of `destination`, under this id and time there however often it comes."""
    # No RETURNING: an API may write here and not read.
    await session.execute(
        insert(Outbox.__table__)  # type: ignore[arg-type]
        .inline()
        .values(id=id, destination=destination, occurred_at=occurred_at, payload=dict(row))
    )
