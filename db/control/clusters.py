"""Rows of `control.clusters`: where the Data DBs are, without any secret."""

from dataclasses import dataclass

from sqlalchemy import text

from db.sessions import ControlSession

_MAX = 1_000


@dataclass(frozen=True)
class Cluster:
    """One Data DB: how it is reached, and no secret."""

    id: str
    host: str
    port: int
    database: str


async def every(session: ControlSession) -> list[Cluster]:
    """Return all clusters by id, those that are down included."""
    rows = await session.execute(
        text("select id, host, port, database from control.clusters order by id limit :max"), {"max": _MAX}
    )
    return [Cluster(**row._mapping) for row in rows]
