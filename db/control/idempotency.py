"""Idempotency keys: a call that is repeated under its key is answered as the first time, and done once."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, text

from core.errors import Conflict, Invalid
from core.ids import Ulid
from db.control.models import Idempotency
from db.sessions import ControlSession


@dataclass(frozen=True)
class Stored:
    """What a call was answered; `body` is the JSON text, or what its caller sealed instead."""

    status: int
    headers: dict[str, str]
    body: Any


async def claim(session: ControlSession, caller: str, key: str, request_hash: str) -> Stored | None:
    """Take the key for this transaction; the stored answer when the call was done before.

    Raises Conflict while a call with this key is under way, and Invalid when it was another call's.
    """
    # An INSERT would wait for its twin; a lock that is taken answers at once.
    lock = func.control.lock_key(caller, key)
    if not await session.scalar(select(lock)):
        raise Conflict("a call with this Idempotency-Key is under way", code="idempotency_in_flight")
    row = (
        await session.execute(
            select(
                Idempotency.request_hash, Idempotency.status, Idempotency.headers, Idempotency.answer
            ).where(Idempotency.caller == caller, Idempotency.key == key)
        )
    ).one_or_none()
    if row is None:
        return None
    if row[0] != request_hash:
        raise Invalid("this Idempotency-Key was used for another request", code="idempotency_mismatch")
    return Stored(row[1], row[2], row[3])


async def remember(
    session: ControlSession, caller: str, key: str, request_hash: str, operation_id: Ulid, answer: Stored
) -> None:
    """Keep the answer of a call with a key, in the transaction of its effect."""
    await session.execute(
        insert(Idempotency.__table__)  # type: ignore[arg-type]
        .inline()
        .values(
            caller=caller,
            key=key,
            request_hash=request_hash,
            status=answer.status,
            headers=answer.headers,
            # A body that is no object stays what it is: SQL's null would be another thing than JSON's.
            answer=answer.body if answer.body is not None else text("null"),
            operation_id=operation_id,
        )
    )
