"""What a database's error means to whoever may try again."""

from collections.abc import Iterator
from enum import StrEnum

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Fault(StrEnum):
    """Four answers to one question: does it help to try again?"""

    BUSY = "busy"
    """Somebody holds what we want: soon."""
    AWAY = "away"
    """The server, or the way there, is gone for now: until it is back."""
    REFUSED = "refused"
    """The data that is there forbids it: no."""
    WRONG = "wrong"
    """The statement itself cannot work here: no, a person must look."""


_BUSY = {"55P03", "40P01", "40001", "57014"}
_AWAY = {"57P01", "57P02", "57P03", "25006"}
_BY_CLASS = {
    "08": Fault.AWAY,
    "53": Fault.AWAY,
    "58": Fault.AWAY,
    "22": Fault.REFUSED,
    "23": Fault.REFUSED,
    "28": Fault.AWAY,  # a credential that is being changed; nothing else can be done by undoing
    "0A": Fault.WRONG,
    "42": Fault.WRONG,
    "3D": Fault.AWAY,  # a database that is being set up
    "3F": Fault.WRONG,
    "PB": Fault.REFUSED,  # our own functions' refusals
}


_NO_ANSWER = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what its pool meets when a connection dies in its hands
    InterfaceError,
    PoolTimeout,
    OSError,
    TimeoutError,
)


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of a database's refusal, through whichever driver it came."""
    found = (getattr(each, "sqlstate", None) for each in _chain(error))
    return next((state for state in found if isinstance(state, str)), None)


def comes_back(error: BaseException) -> bool:
    """Tell whether waiting may help: somebody is in the way, or the database is away."""
    return fault(error) in (Fault.BUSY, Fault.AWAY)


def fault(error: BaseException) -> Fault | None:
    """Return what a database's error means; None where it is none."""
    for each in _chain(error):
        state = getattr(each, "sqlstate", None)
        if isinstance(state, str):
            return _of_state(state, str(each))
        if isinstance(each, _NO_ANSWER):
            return Fault.AWAY
    return None


def _of_state(state: str, message: str) -> Fault | None:
    if state in _BUSY or (state == "XX000" and "concurrently" in message):
        return Fault.BUSY
    if state in _AWAY:
        return Fault.AWAY
    return _BY_CLASS.get(state[:2])


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.orig if isinstance(seen, DBAPIError) and seen.orig is not None else seen.__cause__
