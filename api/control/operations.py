"""Long work: how far it is, and asking it to stop."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import StringConstraints
from starlette.responses import Response

from api.control.caller import Caller, Reads, Writes, missing
from api.operations import OperationOut, OperationPage
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Id, cut
from core import access
from core.access import Action
from core.errors import Conflict
from core.ids import Ulid
from db.control import operations
from db.control.operations import Operation
from db.sessions import ControlSession

router = APIRouter(tags=["operations"])

State = Literal["queued", "running", "succeeded", "failed", "canceled"]
KindName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,60}$")]
_OWNERS_ONLY = frozenset({"wallet_refill"})


@router.get("/operations/{operation_id}", responses=problems(400, 401, 403, 404, 503))
async def get_operation(operation_id: Id, caller: Reads) -> OperationOut:
    """Show one operation, from our own row: this answers when Temporal does not."""
    async with caller.reading() as session:
        operation = await _found(session, caller, Ulid(operation_id), Action.OPERATION_READ)
    return OperationOut.of(operation, caller.parts.runs_url)


@router.get("/tenants/{tenant_id}/operations", responses=problems(400, 401, 403, 404, 503))
async def list_operations(
    tenant_id: Id,
    caller: Reads,
    kind: Annotated[KindName | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
    base_id: Annotated[Id | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> OperationPage:
    """List a tenant's operations, newest first: those on the acting user's bases and on none, or all."""
    query = f"operations {tenant_id} {kind} {state} {base_id}"
    before = caller.parts.cursors.read(query, cursor) if cursor else None
    limit = min(limit, operations.MAX_PAGE - 1)
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.OPERATION_READ)
        found = await operations.list_for_tenant(
            session,
            place.tenant_id,
            limit=limit + 1,
            before=before,
            kind=kind,
            state=state,
            base_id=None if base_id is None else Ulid(base_id),
            workspaces=await caller.workspaces(session, place.tenant_id),
        )
    rows, more = cut(found, limit)
    return OperationPage(
        operations=[OperationOut.of(row, caller.parts.runs_url) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.post(
    "/operations/{operation_id}/cancel",
    response_model=OperationOut,
    responses={
        202: {"model": OperationOut, "description": "The run was asked to stop, and undoes what it did."},
        **problems(400, 401, 403, 404, 409, 503),
    },
)
async def cancel_operation(operation_id: Id, caller: Writes) -> Response:
    """Stop an operation: 200 when nobody had begun it, 202 when its run was asked to undo itself and end."""
    async with caller.change() as change:
        session = change.session
        operation = await _found(session, caller, Ulid(operation_id), Action.OPERATION_CANCEL)
        withdrawn = await operations.withdraw(session, operation.id)
        now = await operations.get(session, operation.id) or operation
        if not withdrawn:
            if now.state not in ("queued", "running"):
                raise Conflict(f"this operation is over: {now.state}", code="operation_over")
            if not now.cancelable:
                raise Conflict("this operation goes through to its end", code="not_cancelable")
            if now.workflow_id is None:
                raise Conflict("this operation is being started: try again", code="operation_starting")
            await caller.parts.runs.cancel(now.workflow_id, now.run_id)
        if now.tenant_id is not None:
            await caller.tell(
                change,
                "OPERATION_CANCEL",
                tenant_id=now.tenant_id,
                base_id=now.base_id,
                resource=("operation", now.id),
                diff={"kind": now.kind},
            )
        body = OperationOut.of(now, caller.parts.runs_url)
        change.answer(200 if withdrawn else 202, body, location=f"/operations/{now.id}")
    return change.response()


async def _found(session: ControlSession, caller: Caller, operation_id: Ulid, action: Action) -> Operation:
    operation = await operations.get(session, operation_id)
    if operation is None:
        raise missing("operation")
    # Whoever asked for a tenant is no member of it before it is there.
    asked_for = operation.kind == "tenant_provision" and operation.requested_by == caller.name
    if caller.user_id is None or (asked_for and action is Action.OPERATION_READ):
        caller.concerns(operation.tenant_id, operation.base_id)
        return operation
    if operation.tenant_id is None:
        raise missing("operation")
    if operation.base_id is not None:
        place = await caller.at_base(session, operation.base_id, action, what="operation")
    else:
        place = await caller.at_tenant(session, operation.tenant_id, action, what="operation")
    if action is Action.OPERATION_CANCEL and operation.kind in _OWNERS_ONLY:
        access.check(place.role, Action.WALLET_TOP_UP)
    return operation
