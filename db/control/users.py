"""People, known by their e-mail address in any case."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from core.errors import Conflict
from core.ids import Ulid
from db.control.models import User
from db.sessions import ControlSession


async def create(session: ControlSession, user_id: Ulid, email: str, name: str) -> User:
    """Write a user; raises Conflict, with the id of who has it, when the address is taken."""
    query = (
        insert(User)
        .values(id=user_id, email=email, name=name)
        .on_conflict_do_nothing(index_elements=[func.lower(User.email)])
        .returning(User)
    )
    row = await session.scalar(query)
    if row is None:
        holder = await by_email(session, email)
        raise Conflict(
            "a user with this e-mail address exists already",
            code="email_taken",
            user_id=holder.id if holder else None,
        )
    return row


async def get(session: ControlSession, user_id: Ulid) -> User | None:
    """Return one user."""
    return await session.get(User, user_id)


async def by_email(session: ControlSession, email: str) -> User | None:
    """Return the user with an address."""
    return await session.scalar(select(User).where(func.lower(User.email) == func.lower(email)))


async def page(session: ControlSession, *, after: Ulid | None, limit: int) -> Sequence[User]:
    """Return users by id, those after `after`."""
    query = select(User).order_by(User.id).limit(limit)
    if after is not None:
        query = query.where(User.id > after)
    return (await session.scalars(query)).all()


async def change(
    session: ControlSession,
    user_id: Ulid,
    *,
    name: str | None,
    status: str | None,
    mfa_enabled: bool | None,
) -> User:
    """Change what is given of a user."""
    given = {"name": name, "status": status, "mfa_enabled": mfa_enabled}
    query = (
        update(User)
        .where(User.id == user_id)
        .values(**{k: v for k, v in given.items() if v is not None}, updated_at=func.now())
        .returning(User)
    )
    return (await session.scalars(query, execution_options={"populate_existing": True})).one()
