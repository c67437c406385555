"""Workspaces of a tenant."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter
from pydantic import Field, model_validator
from starlette.responses import Response

from api.control.caller import Reads, Writes
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Id, Name, Out, Page, cut
from core import access, ids
from core.access import Action, Role
from core.ids import Ulid
from db.control import members, tenants, users

router = APIRouter(tags=["workspaces"])


class NewWorkspace(Closed):
    """A workspace to be made; an acting user becomes its owner."""

    name: Name


class WorkspaceChange(Closed):
    """What can be changed of a workspace; one thing at least."""

    name: Name | None = None
    status: Annotated[
        Literal["active", "archived"] | None, Field(description="An archived one takes no new bases.")
    ] = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.name is None and self.status is None:
            raise ValueError("name or status is needed")
        return self


class WorkspaceOut(Out):
    """A workspace."""

    id: Ulid
    tenant_id: Ulid
    name: str
    status: str
    created_at: datetime
    updated_at: datetime


class WorkspacePage(Page):
    """A page of workspaces."""

    workspaces: list[WorkspaceOut]


@router.post(
    "/tenants/{tenant_id}/workspaces",
    status_code=201,
    response_model=WorkspaceOut,
    responses=problems(400, 401, 403, 404, 409, 422, 503),
)
async def create_workspace(tenant_id: Id, body: NewWorkspace, caller: Writes) -> Response:
    """Make a workspace."""
    async with caller.change() as change:
        session = change.session
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.WORKSPACE_CREATE)
        workspace = await tenants.create_workspace(session, ids.new(), place.tenant_id, body.name)
        user = await users.get(session, caller.user_id) if caller.user_id else None
        if user is not None:
            await members.add(session, ids.new(), workspace.id, user, Role.OWNER)
        await caller.tell(
            change,
            "WORKSPACE_CREATE",
            tenant_id=place.tenant_id,
            workspace_id=workspace.id,
            resource=("workspace", workspace.id),
            diff={"name": body.name},
        )
        change.answer(201, WorkspaceOut.model_validate(workspace), location=f"/workspaces/{workspace.id}")
    return change.response()


@router.get("/tenants/{tenant_id}/workspaces", responses=problems(400, 401, 403, 404, 503))
async def list_workspaces(
    tenant_id: Id, caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> WorkspacePage:
    """List a tenant's workspaces by id: those of which the acting user is a member, or all."""
    query = f"workspaces {tenant_id} {caller.user_id}"
    after = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.WORKSPACE_READ)
        found = await tenants.workspaces(
            session, place.tenant_id, member=caller.user_id, after=after, limit=limit + 1
        )
    rows, more = cut(found, limit)
    return WorkspacePage(
        workspaces=[WorkspaceOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.get("/workspaces/{workspace_id}", responses=problems(400, 401, 403, 404, 503))
async def get_workspace(workspace_id: Id, caller: Reads) -> WorkspaceOut:
    """Show one workspace."""
    async with caller.reading() as session:
        await caller.at_workspace(session, Ulid(workspace_id), Action.WORKSPACE_READ)
        return WorkspaceOut.model_validate(await tenants.workspace(session, Ulid(workspace_id)))


@router.patch(
    "/workspaces/{workspace_id}",
    response_model=WorkspaceOut,
    responses=problems(400, 401, 403, 404, 409, 422, 503),
)
async def change_workspace(workspace_id: Id, body: WorkspaceChange, caller: Writes) -> Response:
    """Rename a workspace, archive it, or bring it back."""
    async with caller.change() as change:
        session = change.session
        place = await caller.at_workspace(session, Ulid(workspace_id), Action.WORKSPACE_RENAME)
        if body.status is not None:
            access.check(place.role if caller.user_id else None, Action.WORKSPACE_ARCHIVE)
        workspace = await tenants.update_workspace(
            session, Ulid(workspace_id), name=body.name, status=body.status
        )
        await caller.tell(
            change,
            "WORKSPACE_ARCHIVE" if body.status == "archived" else "WORKSPACE_UPDATE",
            tenant_id=place.tenant_id,
            workspace_id=workspace.id,
            resource=("workspace", workspace.id),
            diff=body.model_dump(exclude_none=True),
        )
        change.answer(200, WorkspaceOut.model_validate(workspace))
    return change.response()
