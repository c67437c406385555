"""Memberships: who belongs to a workspace, with which role, and what role that is elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute

from core.access import Role
from core.errors import Conflict
from core.ids import Ulid
from db.control.models import BaseRow, Membership, Tenant, User, Workspace
from db.sessions import ControlSession


@dataclass(frozen=True)
class Place:
    """Where a call acts and with which role there; None is no member, or nobody in particular."""

    tenant_id: Ulid
    tenant_status: str
    workspace_id: Ulid | None
    base_id: Ulid | None
    role: Role | None


@dataclass(frozen=True)
class Member:
    """A membership with the person it is for."""

    membership: Membership
    user: User


async def at_tenant(session: ControlSession, tenant_id: Ulid, user_id: Ulid | None) -> Place | None:
    """Return the user's highest role in any of the tenant's workspaces; None where there is no tenant."""
    roles = (
        select(func.array_agg(Membership.role))
        .join(Workspace, Workspace.id == Membership.workspace_id)
        .join(User, User.id == Membership.user_id)
        .where(Workspace.tenant_id == Tenant.id, Membership.user_id == user_id, User.status == "active")
        .scalar_subquery()
    )
    found = await session.execute(select(Tenant.id, Tenant.status, roles).where(Tenant.id == tenant_id))
    row = found.one_or_none()
    if row is None:
        return None
    return Place(row[0], row[1], None, None, max(map(Role.of, row[2])) if row[2] else None)


async def at_workspace(session: ControlSession, workspace_id: Ulid, user_id: Ulid | None) -> Place | None:
    """Return the user's role in a workspace, or None where there is no such workspace."""
    query = select(Tenant.id, Tenant.status, Workspace.id, null(), _role_in(Workspace.id, user_id)).join(
        Workspace, Workspace.tenant_id == Tenant.id
    )
    return await _place(session, query.where(Workspace.id == workspace_id))


async def at_base(session: ControlSession, base_id: Ulid, user_id: Ulid | None) -> Place | None:
    """Return the user's role in a base's workspace, or None where there is no such base."""
    query = select(
        Tenant.id, Tenant.status, BaseRow.workspace_id, BaseRow.id, _role_in(BaseRow.workspace_id, user_id)
    ).join(BaseRow, BaseRow.tenant_id == Tenant.id)
    return await _place(session, query.where(BaseRow.id == base_id))


async def is_active(session: ControlSession, user_id: Ulid) -> bool:
    """Tell whether a user exists and is not disabled."""
    query = select(exists().where(User.id == user_id, User.status == "active"))
    return bool(await session.scalar(query))


async def workspaces_of(session: ControlSession, tenant_id: Ulid, user_id: Ulid) -> list[Ulid]:
    """Return the tenant's workspaces that the user is a member of."""
    query = (
        select(Workspace.id)
        .join(Membership, Membership.workspace_id == Workspace.id)
        .where(Workspace.tenant_id == tenant_id, Membership.user_id == user_id)
    )
    return list(await session.scalars(query))


async def share_a_workspace(session: ControlSession, one: Ulid, other: Ulid) -> bool:
    """Tell whether two users are members of one workspace."""
    mine = select(Membership.workspace_id).where(Membership.user_id == one)
    query = exists().where(Membership.user_id == other, Membership.workspace_id.in_(mine))
    return bool(await session.scalar(select(query)))


async def page(
    session: ControlSession, workspace_id: Ulid, *, after: Ulid | None, limit: int
) -> Sequence[Member]:
    """Return a workspace's members by membership id, those after `after`."""
    query = (
        select(Membership, User)
        .join(User, User.id == Membership.user_id)
        .where(Membership.workspace_id == workspace_id)
        .order_by(Membership.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(Membership.id > after)
    return [Member(membership, user) for membership, user in await session.execute(query)]


async def get(session: ControlSession, workspace_id: Ulid, user_id: Ulid) -> Member | None:
    """Return one member, locked, so that two changes of it come one after the other."""
    query = (
        select(Membership, User)
        .join(User, User.id == Membership.user_id)
        .where(Membership.workspace_id == workspace_id, Membership.user_id == user_id)
        .with_for_update(of=Membership)
    )
    row = (await session.execute(query)).one_or_none()
    return None if row is None else Member(row[0], row[1])


async def add(
    session: ControlSession, membership_id: Ulid, workspace_id: Ulid, user: User, role: Role
) -> Member:
    """Make a user a member; raises Conflict when the user is one already."""
    query = (
        insert(Membership)
        .values(id=membership_id, workspace_id=workspace_id, user_id=user.id, role=role.label)
        .on_conflict_do_nothing(index_elements=["workspace_id", "user_id"])
        .returning(Membership)
    )
    row = await session.scalar(query)
    if row is None:
        raise Conflict("this user is a member of the workspace already", code="already_member")
    return Member(row, user)


async def set_role(session: ControlSession, workspace_id: Ulid, user_id: Ulid, role: Role) -> Membership:
    """Give a member another role; raises Conflict when that would leave the workspace without an owner."""
    if role is not Role.OWNER:
        await _keep_an_owner(session, workspace_id, user_id)
    query = (
        update(Membership)
        .where(Membership.workspace_id == workspace_id, Membership.user_id == user_id)
        .values(role=role.label, updated_at=func.now())
        .returning(Membership)
    )
    return (await session.scalars(query, execution_options={"populate_existing": True})).one()


async def remove(session: ControlSession, workspace_id: Ulid, user_id: Ulid) -> None:
    """End a membership; raises Conflict when that would leave the workspace without an owner."""
    await _keep_an_owner(session, workspace_id, user_id)
    await session.execute(
        delete(Membership).where(Membership.workspace_id == workspace_id, Membership.user_id == user_id)
    )


async def owned_alone(session: ControlSession, user_id: Ulid) -> list[Ulid]:
    """Return the workspaces that would be without an owner if this user were not one, and lock them."""
    mine = select(Membership.workspace_id).where(Membership.user_id == user_id, Membership.role == "owner")
    locked = await session.scalars(
        select(Workspace.id).where(Workspace.id.in_(mine)).order_by(Workspace.id).with_for_update()
    )
    return [
        workspace for workspace in locked.all() if not await _has_other_owner(session, workspace, user_id)
    ]


async def tenants_of(session: ControlSession, user_id: Ulid, limit: int) -> list[Ulid]:
    """Return the tenants in which a user is a member somewhere, at most `limit` of them."""
    query = (
        select(Workspace.tenant_id)
        .join(Membership, Membership.workspace_id == Workspace.id)
        .where(Membership.user_id == user_id)
        .distinct()
        .order_by(Workspace.tenant_id)
        .limit(limit)
    )
    return list(await session.scalars(query))


async def _keep_an_owner(session: ControlSession, workspace_id: Ulid, user_id: Ulid) -> None:
    # The workspace's lock orders two owners who go at the same time: the second one sees that he is the last.
    await session.execute(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update())
    query = select(Membership.role).where(
        Membership.workspace_id == workspace_id, Membership.user_id == user_id
    )
    if await session.scalar(query) == "owner" and not await _has_other_owner(session, workspace_id, user_id):
        raise Conflict(
            "a workspace keeps at least one owner: make somebody else one first", code="last_owner"
        )


async def _has_other_owner(session: ControlSession, workspace_id: Ulid, user_id: Ulid) -> bool:
    query = (
        select(Membership.id)
        .join(User, User.id == Membership.user_id)
        .where(
            Membership.workspace_id == workspace_id,
            Membership.user_id != user_id,
            Membership.role == "owner",
            User.status == "active",
        )
        .limit(1)
    )
    return await session.scalar(query) is not None


def _role_in(workspace: InstrumentedAttribute[Ulid], user_id: Ulid | None) -> ColumnElement[str | None]:
    return (
        select(Membership.role)
        .join(User, User.id == Membership.user_id)
        .where(Membership.workspace_id == workspace, Membership.user_id == user_id, User.status == "active")
        .scalar_subquery()
    )


async def _place(session: ControlSession, query: Select[*tuple[Any, ...]]) -> Place | None:
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    tenant_id, status, workspace_id, base_id, role = row
    return Place(tenant_id, status, workspace_id, base_id, Role.of(role) if role else None)
