"""The Audit DB's door for what other databases' outboxes bring."""

from collections.abc import Sequence

from sqlalchemy import text

from core.ids import Ulid
from db.json_rows import with_ids
from db.sessions import AuditSession


async def add_admin_events(session: AuditSession, ids: Sequence[Ulid], rows: Sequence[str]) -> None:
    """Append events given as JSON text, each under its id. Repeating it changes nothing."""
    await session.execute(
        text("select audit.add_admin_events(cast(:rows as jsonb))"), {"rows": with_ids(ids, rows)}
    )
