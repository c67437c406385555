"""Bases of a workspace."""

from datetime import datetime
from typing import Literal, Self

from fastapi import APIRouter
from pydantic import model_validator
from starlette.responses import Response

from api.control.caller import Reads, Writes
from api.control.work import enqueue
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Id, Name, Out, Page, cut
from core import ids
from core.access import Action
from core.ids import Ulid
from db.control import bases

router = APIRouter(tags=["bases"])


class NewBase(Closed):
    """A base to be made."""

    name: Name


class BaseChange(Closed):
    """What can be changed of a base; one thing at least."""

    name: Name | None = None
    status: Literal["active", "archived"] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.name is None and self.status is None:
            raise ValueError("name or status is needed")
        return self


class BaseOut(Out):
    """A base."""

    id: Ulid
    tenant_id: Ulid
    workspace_id: Ulid
    name: str
    status: str
    created_at: datetime
    updated_at: datetime


class BasePage(Page):
    """A page of bases."""

    bases: list[BaseOut]


@router.post(
    "/workspaces/{workspace_id}/bases",
    status_code=201,
    response_model=BaseOut,
    responses=problems(400, 401, 403, 404, 409, 422, 503),
)
async def create_base(workspace_id: Id, body: NewBase, caller: Writes) -> Response:
    """Make a base; it has no tables before its first schema is applied."""
    async with caller.change() as change:
        place = await caller.at_workspace(change.session, Ulid(workspace_id), Action.BASE_CREATE)
        base = await bases.create(change.session, ids.new(), place.tenant_id, Ulid(workspace_id), body.name)
        await caller.tell(
            change,
            "BASE_CREATE",
            tenant_id=place.tenant_id,
            workspace_id=base.workspace_id,
            base_id=base.id,
            resource=("base", base.id),
            diff={"name": body.name},
        )
        change.answer(201, BaseOut.model_validate(base), location=f"/bases/{base.id}")
    return change.response()


@router.get("/workspaces/{workspace_id}/bases", responses=problems(400, 401, 403, 404, 503))
async def list_bases(
    workspace_id: Id, caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> BasePage:
    """List a workspace's bases by id, archived ones included."""
    query = f"bases {workspace_id}"
    after = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        await caller.at_workspace(session, Ulid(workspace_id), Action.BASE_READ)
        found = await bases.page(session, Ulid(workspace_id), after=after, limit=limit + 1)
    rows, more = cut(found, limit)
    return BasePage(
        bases=[BaseOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.get("/bases/{base_id}", responses=problems(400, 401, 403, 404, 503))
async def get_base(base_id: Id, caller: Reads) -> BaseOut:
    """Show one base."""
    async with caller.reading() as session:
        await caller.at_base(session, Ulid(base_id), Action.BASE_READ)
        return BaseOut.model_validate(await bases.get(session, Ulid(base_id)))


@router.patch(
    "/bases/{base_id}", response_model=BaseOut, responses=problems(400, 401, 403, 404, 409, 422, 503)
)
async def change_base(base_id: Id, body: BaseChange, caller: Writes) -> Response:
    """Rename a base, archive it (its records answer no more, and stay), or bring it back.

    The tenant's database hears of it by an operation, which has the id of this request.
    """
    async with caller.change() as change:
        place = await caller.at_base(change.session, Ulid(base_id), Action.BASE_UPDATE)
        base = await bases.change(change.session, Ulid(base_id), name=body.name, status=body.status)
        await enqueue(
            caller,
            change,
            kind="schema_apply",
            subject_id=base.id,
            tenant_id=place.tenant_id,
            base_id=base.id,
            input={},
        )
        await caller.tell(
            change,
            "BASE_ARCHIVE" if body.status == "archived" else "BASE_UPDATE",
            tenant_id=place.tenant_id,
            workspace_id=place.workspace_id,
            base_id=base.id,
            resource=("base", base.id),
            diff=body.model_dump(exclude_none=True),
        )
        change.answer(200, BaseOut.model_validate(base))
    return change.response()
