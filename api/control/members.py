"""Members of a workspace and their roles."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response

from api.control.caller import Reads, Writer, Writes, missing
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Id, Out, Page, cut
from core import access, ids
from core.access import Action, Role
from core.errors import Fault, Invalid
from core.ids import Ulid
from db.control import members, users
from db.control.members import Member, Place

router = APIRouter(prefix="/workspaces/{workspace_id}/members", tags=["members"])

RoleName = Literal["owner", "admin", "editor", "viewer"]


class NewMember(Closed):
    """A user who is to become a member."""

    user_id: Id
    role: RoleName


class RoleChange(Closed):
    """The role that a member is to have."""

    role: RoleName


class MemberOut(Out):
    """A member: who, and with which role."""

    id: Ulid
    workspace_id: Ulid
    user_id: Ulid
    role: str
    email: str
    name: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, member: Member) -> "MemberOut":
        """Return what is shown of `member`."""
        row, user = member.membership, member.user
        return cls(
            id=row.id,
            workspace_id=row.workspace_id,
            user_id=row.user_id,
            role=row.role,
            email=user.email,
            name=user.name,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class MemberPage(Page):
    """A page of members."""

    members: list[MemberOut]


@router.get("", responses=problems(400, 401, 403, 404, 503))
async def list_members(
    workspace_id: Id, caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> MemberPage:
    """List a workspace's members, those who were added first at the head."""
    query = f"members {workspace_id}"
    after = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        await caller.at_workspace(session, Ulid(workspace_id), Action.MEMBER_READ)
        found = await members.page(session, Ulid(workspace_id), after=after, limit=limit + 1)
    rows, more = cut(found, limit)
    return MemberPage(
        members=[MemberOut.of(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].membership.id) if more else None,
    )


@router.post(
    "",
    status_code=201,
    response_model=MemberOut,
    responses=problems(400, 401, 403, 404, 409, 422, 503),
)
async def add_member(workspace_id: Id, body: NewMember, caller: Writes) -> Response:
    """Make a user a member. Only an owner makes owners."""
    role = Role.of(body.role)
    async with caller.change() as change:
        session = change.session
        action = access.member_change(None, role)
        place = await caller.at_workspace(session, Ulid(workspace_id), action)
        user = await users.get(session, Ulid(body.user_id))
        if user is None:
            words = "there is no such user"
            raise Invalid(words, (Fault("/user_id", "unknown_user", words),))
        member = await members.add(session, ids.new(), Ulid(workspace_id), user, role)
        await caller.tell(
            change,
            "MEMBER_ADD",
            tenant_id=place.tenant_id,
            workspace_id=place.workspace_id,
            resource=("member", user.id),
            diff={"role": role.label},
        )
        change.answer(201, MemberOut.of(member), location=f"/workspaces/{workspace_id}/members/{user.id}")
    return change.response()


@router.patch("/{user_id}", response_model=MemberOut, responses=problems(400, 401, 403, 404, 409, 422, 503))
async def change_member(workspace_id: Id, user_id: Id, body: RoleChange, caller: Writes) -> Response:
    """Give a member another role. Owners are made and unmade by owners only, and the last one stays."""
    role = Role.of(body.role)
    async with caller.change() as change:
        session = change.session
        place = await caller.at_workspace(session, Ulid(workspace_id), Action.MEMBER_READ)
        member = await members.get(session, Ulid(workspace_id), Ulid(user_id))
        if member is None:
            raise missing("member")
        old = Role.of(member.membership.role)
        _check(caller, place, access.member_change(old, role))
        await members.set_role(session, Ulid(workspace_id), Ulid(user_id), role)
        await caller.tell(
            change,
            "MEMBER_ROLE",
            tenant_id=place.tenant_id,
            workspace_id=place.workspace_id,
            resource=("member", user_id),
            diff={"role": {"before": old.label, "after": role.label}},
        )
        change.answer(200, MemberOut.of(member))
    return change.response()


@router.delete("/{user_id}", status_code=204, responses=problems(400, 401, 403, 404, 409, 503))
async def remove_member(workspace_id: Id, user_id: Id, caller: Writes) -> Response:
    """End a membership; everybody may end the own one, but the last owner stays."""
    async with caller.change() as change:
        session = change.session
        place = await caller.at_workspace(session, Ulid(workspace_id), Action.MEMBER_READ)
        member = await members.get(session, Ulid(workspace_id), Ulid(user_id))
        if member is None:
            raise missing("member")
        role = Role.of(member.membership.role)
        if caller.user_id != user_id:
            _check(caller, place, access.member_change(role, None))
        await members.remove(session, Ulid(workspace_id), Ulid(user_id))
        await caller.tell(
            change,
            "MEMBER_REMOVE",
            tenant_id=place.tenant_id,
            workspace_id=place.workspace_id,
            resource=("member", user_id),
            diff={"role": role.label},
        )
        change.answer(204)
    return change.response()


def _check(caller: Writer, place: Place, action: Action) -> None:
    access.check(place.role if caller.user_id else None, action)
