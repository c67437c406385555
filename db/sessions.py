"""One session type per database, so that the type checker refuses the wrong one."""

from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker


class ControlSession(AsyncSession):
    """A session on the Control DB."""


class AuditSession(AsyncSession):
    """A session on the Admin Audit DB."""


class ActivitySession(AsyncSession):
    """A session on the Activity DB."""


class AlarmsSession(AsyncSession):
    """A session on the Alarms DB."""


S = TypeVar("S", bound=AsyncSession)


def sessions(engine: AsyncEngine, kind: type[S]) -> async_sessionmaker[S]:
    """Return the factory of sessions of `kind`: `async with factory.begin() as session` commits or rolls back."""
    return async_sessionmaker(engine, class_=kind, expire_on_commit=False)
