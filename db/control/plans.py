"""Plans, and what tenants have subscribed to."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update

from core.ids import Ulid
from db.control.models import Plan, Subscription
from db.sessions import ControlSession


@dataclass(frozen=True)
class Subscribed:
    """A subscription with its plan."""

    subscription: Subscription
    plan: Plan


async def page(session: ControlSession, *, after: Ulid | None, limit: int) -> Sequence[Plan]:
    """Return plans by id, those after `after`."""
    query = select(Plan).order_by(Plan.id).limit(limit)
    if after is not None:
        query = query.where(Plan.id > after)
    return (await session.scalars(query)).all()


async def codes(session: ControlSession) -> list[str]:
    """Return the plans' codes, cheapest first."""
    return list(await session.scalars(select(Plan.code).order_by(Plan.tier, Plan.id)))


async def by_code(session: ControlSession, code: str) -> Plan | None:
    """Return the plan with a code."""
    return await session.scalar(select(Plan).where(Plan.code == code))


async def current(session: ControlSession, tenant_id: Ulid) -> Subscribed | None:
    """Return the tenant's subscription that is not canceled."""
    query = (
        select(Subscription, Plan)
        .join(Plan, Plan.id == Subscription.plan_id)
        .where(Subscription.tenant_id == tenant_id, Subscription.status != "canceled")
    )
    row = (await session.execute(query)).one_or_none()
    return None if row is None else Subscribed(row[0], row[1])


async def change(
    session: ControlSession, subscription_id: Ulid, *, plan_id: Ulid | None, seats: int | None
) -> Subscription:
    """Move a subscription to another plan or number of seats."""
    changes = {k: v for k, v in (("plan_id", plan_id), ("seats", seats)) if v is not None}
    query = (
        update(Subscription)
        .where(Subscription.id == subscription_id)
        .values(**changes, updated_at=func.now())
        .returning(Subscription)
    )
    return (await session.scalars(query, execution_options={"populate_existing": True})).one()
