"""The outbox as the relay reads it: what waits, and what its receiver has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text

from core.ids import Ulid
from db.sessions import ControlSession


@dataclass(frozen=True)
class Parcel:
    """One row on its way: `row` is JSON text of what the receiver appends."""

    xid: int
    seq: int
    id: Ulid
    destination: Literal["activity", "audit"]
    row: str
    age_s: float


async def waiting(session: ControlSession, after: tuple[int, int], limit: int) -> list[Parcel]:
    """Return the oldest undelivered rows after `after` (xid, seq), at most `limit`."""
    rows = await session.execute(
        text("""
            select cast(xid as text) as xid, seq, id, destination,
                   cast(jsonb_build_object('occurred_at', occurred_at) || payload as text) as row,
                   cast(extract(epoch from clock_timestamp() - occurred_at) as double precision) as age_s
              from control.outbox
             where (xid, seq) > (cast(cast(:xid as text) as xid8), cast(:seq as bigint))
             order by xid, seq limit :limit"""),
        {"xid": str(after[0]), "seq": after[1], "limit": limit},
    )
    return [Parcel(int(row.xid), row.seq, row.id, row.destination, row.row, row.age_s) for row in rows]


async def forget(session: ControlSession, delivered: Sequence[Ulid]) -> None:
    """Delete rows that their receiver has."""
    await session.execute(
        text("delete from control.outbox where id = any(cast(:ids as text[]))"), {"ids": list(delivered)}
    )
