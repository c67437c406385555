"""People: made by the portal, and seen by those who share a workspace with them."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import StrictBool, model_validator
from starlette.responses import Response

from api.control.caller import Reads, Writes, missing
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Email, Id, Name, Out, Page, cut
from core import ids
from core.errors import Conflict
from core.ids import Ulid
from db.control import members, users

router = APIRouter(prefix="/users", tags=["users"])
# A person in more tenants than this is told of in the activity of the first ones.
_MAX_TENANTS_TOLD = 100


class NewUser(Closed):
    """A person to be known, by a unique address."""

    email: Email
    name: Name


class UserChange(Closed):
    """What can be changed of a person; one thing at least. A user may change only the own name."""

    name: Name | None = None
    status: Literal["active", "disabled"] | None = None
    mfa_enabled: StrictBool | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.name is None and self.status is None and self.mfa_enabled is None:
            raise ValueError("name, status or mfa_enabled is needed")
        return self


class UserOut(Out):
    """A person."""

    id: Ulid
    email: str
    name: str
    status: str
    mfa_enabled: bool
    created_at: datetime
    updated_at: datetime


class UserPage(Page):
    """A page of people."""

    users: list[UserOut]


@router.post("", status_code=201, response_model=UserOut, responses=problems(400, 401, 403, 409, 422, 503))
async def create_user(body: NewUser, caller: Writes) -> Response:
    """Make a user known. Where the address is known already, the 409 names the user's id."""
    async with caller.change() as change:
        caller.service_only("making users known")
        user = await users.create(change.session, ids.new(), body.email, body.name)
        change.answer(201, UserOut.model_validate(user), location=f"/users/{user.id}")
    return change.response()


@router.get("", responses=problems(400, 401, 403, 503))
async def list_users(
    caller: Reads,
    email: Annotated[Email | None, Query(description="Only the user with this address.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> UserPage:
    """List users by id, for the portal itself."""
    query = f"users {email}"
    after = caller.parts.cursors.read(query, cursor) if cursor else None
    caller.service_only("listing users")
    async with caller.reading() as session:
        if email is not None:
            user = await users.by_email(session, email)
            return UserPage(users=[UserOut.model_validate(user)] if user else [])
        found = await users.page(session, after=after, limit=limit + 1)
    rows, more = cut(found, limit)
    return UserPage(
        users=[UserOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.get("/{user_id}", responses=problems(400, 401, 403, 404, 503))
async def get_user(user_id: Id, caller: Reads) -> UserOut:
    """Show a user: to the portal, to the user, and to those who share a workspace with the user."""
    wanted = Ulid(user_id)
    async with caller.reading() as session:
        user = await users.get(session, wanted)
        if user is None or not (
            caller.user_id in (None, wanted)
            or await members.share_a_workspace(session, Ulid(str(caller.user_id)), wanted)
        ):
            raise missing("user")
        return UserOut.model_validate(user)


@router.patch("/{user_id}", response_model=UserOut, responses=problems(400, 401, 403, 404, 409, 422, 503))
async def change_user(user_id: Id, body: UserChange, caller: Writes) -> Response:
    """Change a user; disabling one ends what the user may do, within a second in the Data API too."""
    wanted = Ulid(user_id)
    async with caller.change() as change:
        session = change.session
        if caller.user_id not in (None, wanted) or await users.get(session, wanted) is None:
            raise missing("user")
        if body.status is not None or body.mfa_enabled is not None:
            caller.service_only("changing a user's status or second factor")
        if body.status == "disabled" and await members.owned_alone(session, wanted):
            raise Conflict(
                "this user is the last owner of a workspace: make somebody else one first",
                code="last_owner",
            )
        user = await users.change(
            session, wanted, name=body.name, status=body.status, mfa_enabled=body.mfa_enabled
        )
        for tenant_id in await members.tenants_of(session, wanted, _MAX_TENANTS_TOLD):
            await caller.tell(
                change,
                "USER_DISABLE" if body.status == "disabled" else "USER_UPDATE",
                tenant_id=tenant_id,
                resource=("user", wanted),
                diff=body.model_dump(exclude_none=True),
            )
        change.answer(200, UserOut.model_validate(user))
    return change.response()
