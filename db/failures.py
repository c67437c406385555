"""What a database's refusal is called, through whichever driver it came, and whether it was away altogether."""

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

DATABASE_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what its pool meets when a connection dies in its hands
    SQLAlchemyError,
)
# Connection exceptions, shutdowns and crashes, too many connections.
_AWAY = ("08", "57P", "53300")


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of a database's refusal."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_away(error: BaseException) -> bool:
    """Tell whether the database could not be reached, rather than refused something."""
    state = sqlstate_of(error)
    return state.startswith(_AWAY) if state is not None else isinstance(error, DATABASE_ERRORS)
