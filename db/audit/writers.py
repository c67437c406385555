"""The Audit DB's door for what other databases' outboxes bring."""

from collections.abc import Sequence

from sqlalchemy import text

from core.ids import Ulid
from db.sessions import AuditSession


async def add_admin_events(session: AuditSession, ids: Sequence[Ulid], rows: Sequence[str]) -> None:
    """Append events given as JSON text, each under its id. Repeating it changes nothing."""
    await session.execute(
        text("""
            select audit.add_admin_events(
              (select jsonb_agg(e.row || jsonb_build_object('id', e.id))
                 from unnest(cast(:ids as text[]), cast(:rows as jsonb[])) as e (id, row)))"""),
        {"ids": list(ids), "rows": list(rows)},
    )
