"""How much tenants may call and run."""

from collections.abc import Sequence

from sqlalchemy import select

from core.ids import Ulid
from db.control.models import RateLimit
from db.sessions import ControlSession


async def of_tenant(session: ControlSession, tenant_id: Ulid) -> Sequence[RateLimit]:
    """Return a tenant's limits: one for each kind of window at most."""
    query = select(RateLimit).where(RateLimit.tenant_id == tenant_id).order_by(RateLimit.id)
    return (await session.scalars(query)).all()
