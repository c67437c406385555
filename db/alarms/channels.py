"""Where a tenant wants to hear of its alerts."""

from collections.abc import Sequence

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from core.errors import Conflict
from core.ids import Ulid
from db.alarms.models import Channel
from db.sessions import AlarmsSession


async def open_(
    session: AlarmsSession,
    *,
    channel_id: Ulid,
    tenant_id: Ulid,
    channel: str,
    to: str,
    min_severity: str,
    secret_sealed: str | None,
) -> Channel:
    """Make a channel, or open again a disabled one to the same place; raises Conflict when one is open.

    Repeating it under the same `channel_id` changes nothing but the secret.
    """
    query = insert(Channel).values(
        id=channel_id,
        tenant_id=tenant_id,
        channel=channel,
        to=to,
        min_severity=min_severity,
        secret_sealed=secret_sealed,
    )
    query = query.on_conflict_do_update(
        index_elements=["tenant_id", "channel", "to"],
        set_={
            "status": "active",
            "min_severity": query.excluded.min_severity,
            "secret_sealed": query.excluded.secret_sealed,
            "updated_at": func.now(),
        },
        where=or_(Channel.status == "disabled", Channel.id == channel_id),
    )
    row: Channel | None = await session.scalar(
        query.returning(Channel), execution_options={"populate_existing": True}
    )
    if row is None:
        raise Conflict("there is a channel to this place already", code="channel_exists")
    return row


async def get(session: AlarmsSession, channel_id: Ulid) -> Channel | None:
    """Return one channel."""
    return await session.get(Channel, channel_id)


async def page(
    session: AlarmsSession, tenant_id: Ulid, *, after: Ulid | None, limit: int
) -> Sequence[Channel]:
    """Return a tenant's channels by id, those after `after`."""
    query = select(Channel).where(Channel.tenant_id == tenant_id).order_by(Channel.id).limit(limit)
    if after is not None:
        query = query.where(Channel.id > after)
    return (await session.scalars(query)).all()


async def disable(session: AlarmsSession, channel_id: Ulid) -> Channel:
    """Hear no more there. Repeating it changes nothing."""
    query = (
        update(Channel)
        .where(Channel.id == channel_id)
        .values(status="disabled", updated_at=func.now())
        .returning(Channel)
    )
    return (await session.scalars(query, execution_options={"populate_existing": True})).one()
