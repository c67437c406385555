"""One transaction of one database, and what the database refuses by the names of `core.errors`."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from core.errors import Conflict, Forbidden, InsufficientFunds, Invalid, NotFound, PlanebaseError, Unavailable
from db.faults import comes_back, sqlstate_of

_log = structlog.get_logger("db")
S = TypeVar("S", bound=AsyncSession)
Sessions: TypeAlias = async_sessionmaker
"""What makes the sessions of one database, for those who may not know the library."""

RETRY_AFTER_S = 2
_OURS: dict[str, type[PlanebaseError]] = {
    "PB402": InsufficientFunds,
    "PB403": Forbidden,
    "PB404": NotFound,
    "PB409": Conflict,
}
# What a request may simply be sent again for, beyond what comes back by itself: cancels, locks, and a
# transaction that took too long.
_LATER = ("57", "40", "55", "25P")


@contextlib.asynccontextmanager
async def transaction(factory: Sessions[S]) -> AsyncIterator[S]:
    """Open one transaction: committed when the block ends, and nothing of it stays when the block fails."""
    with translated():
        async with factory.begin() as session:
            yield session


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise what the database or the way to it refuses by our names; everything else goes on as it is."""
    try:
        yield
    except PlanebaseError:
        raise
    except DBAPIError as error:
        raise _named(error) from error
    except (OSError, TimeoutError, PoolTimeout) as error:
        raise _away(error, "") from error


def _away(error: BaseException, state: str) -> Unavailable:
    _log.warning("a database is away or busy", sqlstate=state, error=type(error).__name__, detail=str(error))
    return Unavailable("a database is away or busy; try again", retry_after_s=RETRY_AFTER_S)


def _named(error: DBAPIError) -> Exception:
    state = sqlstate_of(error) or ""
    message = str(getattr(error.orig, "__cause__", None) or error.orig)
    if state in _OURS:
        return _OURS[state](message.splitlines()[0])
    if comes_back(error) or state.startswith(_LATER):
        return _away(error.orig or error, state)
    if state == "23505":
        return Conflict("something of this name or id exists already")
    if state.startswith("22"):
        return Invalid(message.splitlines()[0])
    return error
