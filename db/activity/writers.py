"""The Activity DB's door for writers: rows are appended, and one that is there already changes nothing."""

from collections.abc import Sequence

from sqlalchemy import text

from core.ids import Ulid
from db.json_rows import with_ids
from db.sessions import ActivitySession


async def add_resource_events(session: ActivitySession, ids: Sequence[Ulid], rows: Sequence[str]) -> None:
    """Append events given as JSON text, each under its id. Repeating it changes nothing."""
    await session.execute(
        text("select activity.add_resource_events(cast(:rows as jsonb))"), {"rows": with_ids(ids, rows)}
    )
