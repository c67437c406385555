"""Asking for long work: a row in the request's own transaction, and 202."""

from typing import Any

from api.control.caller import Writer
from api.once import Change
from api.operations import OperationOut
from core.ids import Ulid
from db.control import operations
from db.control.operations import Operation


class Accepted(OperationOut):
    """Work that was asked for; `Location` says where it can be followed."""


async def enqueue(
    caller: Writer,
    change: Change,
    *,
    kind: str,
    subject_id: str,
    tenant_id: Ulid,
    base_id: Ulid | None = None,
    input: dict[str, Any],  # noqa: A002  (the row's column)
    cancelable: bool = False,
) -> Operation:
    """Write the operation under the request's id, and return it as it now stands."""
    await operations.enqueue(
        change.session,
        id=caller.request_id,
        kind=kind,
        subject_id=subject_id,
        tenant_id=tenant_id,
        base_id=base_id,
        input=input,
        requested_by=caller.name,
        cancelable=cancelable,
    )
    row = await operations.get(change.session, caller.request_id)
    if row is None:
        raise RuntimeError("an operation was written and is not there")
    return row


def accepted(caller: Writer, change: Change, operation: Operation) -> None:
    """Answer 202 with the operation and its address."""
    body = Accepted.of(operation, caller.parts.runs_url)
    change.answer(202, body, location=f"/operations/{operation.id}")
