"""Rows of `control.operations`: the one queue of all long work, and all that `GET /operations` reads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, text

from core.errors import Conflict, Unavailable
from core.ids import Ulid
from db.sessions import ControlSession

State = Literal["queued", "running", "succeeded", "failed", "canceled"]
End = Literal["succeeded", "failed", "canceled"]

MAX_PAGE = 200
_SELECT = """
    select id, kind, tenant_id, base_id, subject_id, state, input_json, result_json, error_json, step,
           percent, eta, cancelable, requested_by, workflow_id, run_id, not_before, created_at, started_at,
           ended_at, updated_at
      from control.operations """


@dataclass(frozen=True)
class Operation:
    """One piece of long work, as its row has it."""

    id: Ulid
    kind: str
    tenant_id: Ulid | None
    base_id: Ulid | None
    subject_id: str
    state: State
    input: dict[str, Any]
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    step: str | None
    percent: int
    eta: datetime | None
    cancelable: bool
    requested_by: str
    workflow_id: str | None
    run_id: str | None
    not_before: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime


async def enqueue(
    session: ControlSession,
    *,
    id: Ulid,  # noqa: A002  (the row's column)
    kind: str,
    subject_id: str,
    tenant_id: Ulid | None,
    base_id: Ulid | None,
    input: dict[str, Any],  # noqa: A002
    requested_by: str,
    cancelable: bool = False,
) -> None:
    """Queue work in the caller's transaction; the starter begins it. Repeating an id changes nothing."""
    await session.execute(
        text("""
            insert into control.operations
                   (id, kind, subject_id, tenant_id, base_id, input_json, requested_by, cancelable)
            values (:id, :kind, :subject_id, :tenant_id, :base_id, cast(:input as jsonb), :requested_by,
                    :cancelable)
            on conflict do nothing"""),
        {
            "id": id,
            "kind": kind,
            "subject_id": subject_id,
            "tenant_id": tenant_id,
            "base_id": base_id,
            "input": json.dumps(input),
            "requested_by": requested_by,
            "cancelable": cancelable,
        },
    )


async def insert_running(
    session: ControlSession,
    *,
    id: Ulid,  # noqa: A002
    kind: str,
    subject_id: str,
    workflow_id: str,
    run_id: str,
    requested_by: str,
    cancelable: bool,
) -> None:
    """Show a run that no row asked for (a Schedule's). Repeating an id changes nothing.

    Raises Unavailable while the one before it is still to be swept.
    """
    await session.execute(
        text("""
            insert into control.operations
                   (id, kind, subject_id, state, workflow_id, run_id, requested_by, cancelable, started_at)
            values (:id, :kind, :subject_id, 'running', :workflow_id, :run_id, :requested_by, :cancelable,
                    now())
            on conflict do nothing"""),
        {
            "id": id,
            "kind": kind,
            "subject_id": subject_id,
            "workflow_id": workflow_id,
            "run_id": run_id,
            "requested_by": requested_by,
            "cancelable": cancelable,
        },
    )
    if await get(session, id) is None:
        raise Unavailable(f"another {kind} is shown as running", retry_after_s=2)


async def get(session: ControlSession, operation_id: Ulid) -> Operation | None:
    """Return one operation, or None; the caller checks whose it is."""
    row = (await session.execute(text(_SELECT + "where id = :id"), {"id": operation_id})).one_or_none()
    return None if row is None else operation_of(row)


async def list_for_tenant(
    session: ControlSession,
    tenant_id: Ulid,
    *,
    limit: int = 50,
    before: Ulid | None = None,
    kind: str | None = None,
    state: State | None = None,
    base_id: Ulid | None = None,
    workspaces: Sequence[Ulid] | None = None,
) -> list[Operation]:
    """Return a tenant's operations, newest first, at most `limit` (200) of them older than `before`.

    With `workspaces`, only those on a base in one of them, or on none.
    """
    rows = await session.execute(
        text(
            _SELECT
            + """
             where tenant_id = :tenant_id
               and (cast(:before as text) is null or id < :before)
               and (cast(:kind as text) is null or kind = :kind)
               and (cast(:state as text) is null or state = :state)
               and (cast(:base_id as text) is null or base_id = :base_id)
               and (cast(:workspaces as text[]) is null or base_id is null
                    or exists (select from control.bases b where b.id = base_id
                                  and b.workspace_id = any (cast(:workspaces as text[]))))
             order by id desc limit :limit"""
        ),
        {
            "tenant_id": tenant_id,
            "before": before,
            "kind": kind,
            "state": state,
            "base_id": base_id,
            "workspaces": None if workspaces is None else list(workspaces),
            "limit": min(limit, MAX_PAGE),
        },
    )
    return [operation_of(row) for row in rows]


async def withdraw(session: ControlSession, operation_id: Ulid) -> bool:
    """Cancel an operation that nobody has begun; False when it is under way, over or not cancelable."""
    done = await session.execute(
        text("""
            update control.operations
               set state = 'canceled', ended_at = now(), updated_at = now(), cancelable = false
             where id = :id and state = 'queued' and cancelable returning id"""),
        {"id": operation_id},
    )
    return done.one_or_none() is not None


async def begin(session: ControlSession, operation_id: Ulid, *, cancelable: bool) -> bool:
    """Note that its run has begun; False when the row is over, and then the run has nothing to do."""
    # A row may have gone back to `queued` because the starter did not hear that its start had worked.
    done = await session.execute(
        text("""
            update control.operations
               set state = 'running', cancelable = cancelable and :cancelable,
                   step = coalesce(step, 'starting'), updated_at = now()
             where id = :id and state in ('queued', 'running') returning id"""),
        {"id": operation_id, "cancelable": cancelable},
    )
    return done.one_or_none() is not None


async def require_wanted(session: ControlSession, operation_id: Ulid) -> None:
    """Refuse (Conflict) to work for an operation that is over or being undone, until this transaction ends.

    A step that was given up as lost may still be on its way: this keeps it from acting behind the undo.
    """
    row = await session.execute(
        text("""
            select id from control.operations
             where id = :id and state in ('queued', 'running') and error_json is null for share"""),
        {"id": operation_id},
    )
    if row.one_or_none() is None:
        raise Conflict(f"operation {operation_id} is over or being undone", code="operation_over")


async def failing(session: ControlSession, operation_id: Ulid, error: dict[str, Any]) -> None:
    """Say why an operation is being undone; from here on none of its steps is let through."""
    await session.execute(
        text("""
            update control.operations
               set error_json = cast(:error as jsonb), cancelable = false, updated_at = now()
             where id = :id and state in ('queued', 'running')"""),
        {"id": operation_id, "error": json.dumps(error)},
    )


async def progress(
    session: ControlSession,
    operation_id: Ulid,
    *,
    step: str,
    percent: int,
    cancelable: bool,
    eta_s: float | None = None,
) -> None:
    """Show how far a run is; a row that is over stays as it ended."""
    await session.execute(
        text("""
            update control.operations
               set step = :step, percent = :percent, cancelable = cancelable and :cancelable,
                   updated_at = now(),
                   eta = now() + make_interval(secs => cast(:eta_s as double precision))
             where id = :id and state in ('queued', 'running')"""),
        {"id": operation_id, "step": step, "percent": percent, "cancelable": cancelable, "eta_s": eta_s},
    )


async def finish(
    session: ControlSession,
    operation_id: Ulid,
    state: End,
    *,
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> bool:
    """End an operation, once, and wake the starter; False when it was over already: then nothing changes."""
    done = await session.execute(
        text("""
            update control.operations
               set state = cast(:state as text), result_json = cast(:result as jsonb),
                   error_json = cast(:error as jsonb),
                   percent = case when cast(:state as text) = 'succeeded' then 100 else percent end,
                   cancelable = false, eta = null, ended_at = now(), updated_at = now()
             where id = :id and state in ('queued', 'running') returning id"""),
        {
            "id": operation_id,
            "state": state,
            "result": None if result is None else json.dumps(result),
            "error": None if error is None else json.dumps(error),
        },
    )
    if done.one_or_none() is None:
        return False
    await session.execute(text("select pg_notify('operations', '')"))
    return True


def operation_of(row: Row[Any]) -> Operation:
    """Return the operation that a row of the table holds."""
    values = dict(row._mapping)
    for name in ("input", "result", "error"):
        values[name] = values.pop(f"{name}_json")
    return Operation(**values)
