"""Tenants and their workspaces."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from core.errors import Conflict
from core.ids import Ulid
from db.control.models import BaseRow, Cluster, Membership, Placement, Tenant, Workspace
from db.sessions import ControlSession

_FRESH = {"populate_existing": True}


async def create(session: ControlSession, tenant_id: Ulid, slug: str, name: str, region: str) -> Tenant:
    """Write a tenant that is being provisioned; raises Conflict when the slug is taken."""
    query = (
        insert(Tenant)
        .values(id=tenant_id, slug=slug, name=name, region=region, status="provisioning")
        .on_conflict_do_nothing(index_elements=["slug"])
        .returning(Tenant)
    )
    row = await session.scalar(query)
    if row is None:
        raise Conflict(f"the slug {slug!r} is taken", code="slug_taken")
    return row


async def get(session: ControlSession, tenant_id: Ulid) -> Tenant | None:
    """Return one tenant."""
    return await session.get(Tenant, tenant_id)


async def locked(session: ControlSession, tenant_id: Ulid) -> Tenant | None:
    """Return one tenant, locked until the end of the transaction."""
    return await session.get(Tenant, tenant_id, with_for_update=True)


async def page(
    session: ControlSession,
    *,
    member: Ulid | None = None,
    status: str | None = None,
    after: Ulid | None,
    limit: int,
) -> Sequence[Tenant]:
    """Return tenants by id, those after `after`; with `member`, only those in which that user has a role."""
    query = select(Tenant).order_by(Tenant.id).limit(limit)
    if member is not None:
        query = query.where(
            select(Membership.id)
            .join(Workspace, Workspace.id == Membership.workspace_id)
            .where(Workspace.tenant_id == Tenant.id, Membership.user_id == member)
            .exists()
        )
    if status is not None:
        query = query.where(Tenant.status == status)
    if after is not None:
        query = query.where(Tenant.id > after)
    return (await session.scalars(query)).all()


async def with_homes(session: ControlSession, ids: Sequence[Ulid]) -> dict[Ulid, Placement]:
    """Return where tenants live, by their ids; those without a home are left out."""
    rows = await session.scalars(select(Placement).where(Placement.tenant_id.in_(ids)))
    return {row.tenant_id: row for row in rows}


async def rename(session: ControlSession, tenant_id: Ulid, name: str) -> Tenant:
    """Give a tenant another name."""
    query = (
        update(Tenant)
        .where(Tenant.id == tenant_id)
        .values(name=name, updated_at=func.now())
        .returning(Tenant)
    )
    return (await session.scalars(query, execution_options=_FRESH)).one()


async def set_status(session: ControlSession, tenant_id: Ulid, status: str, reason: str | None) -> Tenant:
    """Suspend or resume a tenant; the Data API hears of it at commit."""
    query = (
        update(Tenant)
        .where(Tenant.id == tenant_id)
        .values(status=status, status_reason=reason, updated_at=func.now())
        .returning(Tenant)
    )
    return (await session.scalars(query, execution_options=_FRESH)).one()


async def regions(session: ControlSession) -> list[str]:
    """Return the regions in which some cluster takes tenants."""
    query = (
        select(Cluster.region)
        .where(Cluster.state == "active", Cluster.cls == "shared")
        .distinct()
        .order_by(Cluster.region)
    )
    return list(await session.scalars(query))


async def counts(session: ControlSession) -> dict[str, int]:
    """Return how many tenants there are in each status."""
    rows = await session.execute(select(Tenant.status, func.count()).group_by(Tenant.status))
    return {row[0]: row[1] for row in rows}


async def create_workspace(
    session: ControlSession, workspace_id: Ulid, tenant_id: Ulid, name: str
) -> Workspace:
    """Write a workspace."""
    query = insert(Workspace).values(id=workspace_id, tenant_id=tenant_id, name=name).returning(Workspace)
    return (await session.scalars(query)).one()


async def workspace(session: ControlSession, workspace_id: Ulid) -> Workspace | None:
    """Return one workspace."""
    return await session.get(Workspace, workspace_id)


async def workspaces(
    session: ControlSession, tenant_id: Ulid, *, member: Ulid | None, after: Ulid | None, limit: int
) -> Sequence[Workspace]:
    """Return a tenant's workspaces by id; with `member`, only those in which that user has a role."""
    query = select(Workspace).where(Workspace.tenant_id == tenant_id).order_by(Workspace.id).limit(limit)
    if member is not None:
        query = query.join(Membership, Membership.workspace_id == Workspace.id).where(
            Membership.user_id == member
        )
    if after is not None:
        query = query.where(Workspace.id > after)
    return (await session.scalars(query)).all()


async def update_workspace(
    session: ControlSession, workspace_id: Ulid, *, name: str | None, status: str | None
) -> Workspace:
    """Rename or archive a workspace; raises Conflict while one that is to be archived has bases in use."""
    if status == "archived":
        # The workspace's lock and the bases' foreign key exclude each other: no base slips in meanwhile.
        await session.execute(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update())
        used = select(BaseRow.id).where(BaseRow.workspace_id == workspace_id, BaseRow.status == "active")
        if await session.scalar(used.limit(1)) is not None:
            raise Conflict("this workspace has bases in use: archive them first", code="workspace_not_empty")
    changes = {k: v for k, v in (("name", name), ("status", status)) if v is not None}
    query = (
        update(Workspace)
        .where(Workspace.id == workspace_id)
        .values(**changes, updated_at=func.now())
        .returning(Workspace)
    )
    return (await session.scalars(query, execution_options=_FRESH)).one()
