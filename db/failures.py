"""What a call into a database may raise, so that a loop can wait for it without knowing the drivers."""

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core.errors import NotFound, Unavailable

DATABASE_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    NotFound,
    Unavailable,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    SQLAlchemyError,
)

# Connection exceptions, shutdowns and crashes, too many connections.
_AWAY = ("08", "57P", "53300")
# The row itself is at fault: data exceptions, integrity, and what our own functions refuse.
_ROW = ("22", "23", "PB")


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of a database's refusal, through whichever driver it came."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_away(error: BaseException) -> bool:
    """Tell whether the database could not be reached, rather than refused something."""
    state = sqlstate_of(error)
    return state.startswith(_AWAY) if state is not None else isinstance(error, DATABASE_ERRORS)


def is_bad_row(error: BaseException) -> bool:
    """Tell whether the database refused the rows themselves, so that trying again does not help."""
    state = sqlstate_of(error)
    return state is not None and state.startswith(_ROW)
