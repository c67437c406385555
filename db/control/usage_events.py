"""Rows of `control.usage_events`: what was used, counted once per id."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import text

from core.ids import Ulid
from db.sessions import ControlSession


@dataclass(frozen=True)
class Use:
    """A quantity of one meter in the window that begins at `window_start`."""

    id: Ulid
    tenant_id: Ulid
    meter: Literal["runs", "api_calls"]
    quantity: int
    window_start: datetime
    operation_id: Ulid | None = None


async def add(session: ControlSession, uses: Sequence[Use]) -> None:
    """Append usage; an id that is there already changes nothing."""
    if not uses:
        return
    await session.execute(
        text("""
            insert into control.usage_events (id, tenant_id, meter, quantity, window_start, operation_id)
            select * from unnest(cast(:ids as text[]), cast(:tenants as text[]), cast(:meters as text[]),
                                 cast(:quantities as bigint[]), cast(:windows as timestamptz[]),
                                 cast(:operations as text[]))
            on conflict do nothing"""),
        {
            "ids": [use.id for use in uses],
            "tenants": [use.tenant_id for use in uses],
            "meters": [use.meter for use in uses],
            "quantities": [use.quantity for use in uses],
            "windows": [use.window_start for use in uses],
            "operations": [use.operation_id for use in uses],
        },
    )
