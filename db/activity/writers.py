"""The Activity DB's door for writers: rows are appended, and one that is there already changes nothing."""

from collections.abc import Sequence

from sqlalchemy import text

from core.ids import Ulid
from db.sessions import ActivitySession


async def add_resource_events(session: ActivitySession, ids: Sequence[Ulid], rows: Sequence[str]) -> None:
    """Append events given as JSON text, each under its id. Repeating it changes nothing."""
    await session.execute(
        text("""
            select activity.add_resource_events(
              (select jsonb_agg(e.row || jsonb_build_object('id', e.id))
                 from unnest(cast(:ids as text[]), cast(:rows as jsonb[])) as e (id, row)))"""),
        {"ids": list(ids), "rows": list(rows)},
    )
