"""Bases, as the Control DB knows them."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from core.errors import Conflict
from core.ids import Ulid
from db.control.models import BaseRow, Workspace
from db.sessions import ControlSession


async def create(
    session: ControlSession, base_id: Ulid, tenant_id: Ulid, workspace_id: Ulid, name: str
) -> BaseRow:
    """Write a base; raises Conflict in an archived workspace."""
    # Shared with other bases' makers, exclusive with whoever archives the workspace.
    status = await session.scalar(
        select(Workspace.status).where(Workspace.id == workspace_id).with_for_update(key_share=True)
    )
    if status != "active":
        raise Conflict("this workspace is archived", code="workspace_archived")
    query = (
        insert(BaseRow)
        .values(id=base_id, tenant_id=tenant_id, workspace_id=workspace_id, name=name)
        .returning(BaseRow)
    )
    return (await session.scalars(query)).one()


async def get(session: ControlSession, base_id: Ulid) -> BaseRow | None:
    """Return one base."""
    return await session.get(BaseRow, base_id)


async def ids_in(session: ControlSession, workspaces: Sequence[Ulid]) -> list[Ulid]:
    """Return the bases of some workspaces, archived ones included."""
    return list(await session.scalars(select(BaseRow.id).where(BaseRow.workspace_id.in_(workspaces))))


async def page(
    session: ControlSession, workspace_id: Ulid, *, after: Ulid | None, limit: int
) -> Sequence[BaseRow]:
    """Return a workspace's bases by id, those after `after`."""
    query = select(BaseRow).where(BaseRow.workspace_id == workspace_id).order_by(BaseRow.id).limit(limit)
    if after is not None:
        query = query.where(BaseRow.id > after)
    return (await session.scalars(query)).all()


async def change(session: ControlSession, base_id: Ulid, *, name: str | None, status: str | None) -> BaseRow:
    """Rename, archive or bring back a base; the Data API hears of its status at commit."""
    changes = {k: v for k, v in (("name", name), ("status", status)) if v is not None}
    query = (
        update(BaseRow)
        .where(BaseRow.id == base_id)
        .values(**changes, updated_at=func.now())
        .returning(BaseRow)
    )
    return (await session.scalars(query, execution_options={"populate_existing": True})).one()
