"""Data API tokens: shown once, then known by their first characters."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter
from pydantic import AwareDatetime, Field, StringConstraints, model_validator
from starlette.responses import Response

from api.control.caller import Caller, Reads, Writer, Writes, missing
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Id, Out, Page, cut
from core import access, ids, token
from core.access import Action
from core.errors import Fault, Forbidden, Invalid
from core.ids import Ulid
from db.control import tokens
from db.control.members import Place, at_base, at_workspace
from db.control.tokens import Found
from db.sessions import ControlSession

router = APIRouter(tags=["tokens"])

Scope = Literal["records:read", "records:write"]
Label = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class NewToken(Closed):
    """A token to be made: for the whole tenant, one workspace, or one base."""

    name: Label = ""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=2)]
    workspace_id: Id | None = None
    base_id: Id | None = None
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.scopes)) != len(self.scopes):
            raise ValueError("each scope may come once")
        return self


class TokenOut(Out):
    """A token without its secret."""

    id: Ulid
    tenant_id: Ulid
    workspace_id: Ulid | None
    base_id: Ulid | None
    name: str
    hint: str
    scopes: list[str]
    created_by_user: Ulid | None
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    revoked_at: datetime | None


class TokenMade(TokenOut):
    """A new token: the only answer that holds the secret."""

    token: str


class TokenPage(Page):
    """A page of tokens."""

    tokens: list[TokenOut]


@router.post(
    "/tenants/{tenant_id}/tokens",
    status_code=201,
    response_model=TokenMade,
    responses=problems(400, 401, 403, 404, 409, 422, 503),
)
async def create_token(tenant_id: Id, body: NewToken, caller: Writes) -> Response:
    """Make a token. Its secret is in this answer and nowhere else; the database keeps a hash."""
    async with caller.change() as change:
        session = change.session
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.TOKEN_READ)
        if body.expires_at is not None and body.expires_at <= caller.at:
            words = "a token expires in the future"
            raise Invalid(words, (Fault("/expires_at", "not_in_the_future", words),))
        bound_to = await _restriction(session, caller, place, body)
        _check(caller, bound_to, body.scopes)
        made = token.make()
        row = await tokens.create(
            session,
            token_id=ids.new(),
            tenant_id=place.tenant_id,
            workspace_id=_ulid(body.workspace_id),
            base_id=_ulid(body.base_id),
            name=body.name,
            hint=made.hint,
            token_hash=made.hash,
            scopes=body.scopes,
            created_by_user=caller.user_id,
            expires_at=body.expires_at,
        )
        await caller.tell(
            change,
            "TOKEN_CREATE",
            tenant_id=place.tenant_id,
            workspace_id=bound_to.workspace_id,
            base_id=bound_to.base_id,
            resource=("token", row.id),
            diff={"name": row.name, "scopes": row.scopes, "expires_at": _text(row.expires_at)},
        )
        out = TokenOut.model_validate(row).model_dump()
        change.answer(201, TokenMade(**out, token=made.secret), location=f"/tokens/{row.id}", secret=True)
    return change.response()


@router.get("/tenants/{tenant_id}/tokens", responses=problems(400, 401, 403, 404, 503))
async def list_tokens(
    tenant_id: Id, caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> TokenPage:
    """List a tenant's tokens by id, revoked ones included: those of the acting user's workspaces, or all."""
    query = f"tokens {tenant_id} {caller.user_id}"
    after = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.TOKEN_READ)
        seen = await caller.workspaces(session, place.tenant_id)
        found = await tokens.page(session, place.tenant_id, workspaces=seen, after=after, limit=limit + 1)
    rows, more = cut(found, limit)
    return TokenPage(
        tokens=[TokenOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.get("/tokens/{token_id}", responses=problems(400, 401, 403, 404, 503))
async def get_token(token_id: Id, caller: Reads) -> TokenOut:
    """Show one token, without its secret."""
    async with caller.reading() as session:
        found, _ = await _found(session, caller, Ulid(token_id), Action.TOKEN_READ)
    return TokenOut.model_validate(found.token)


@router.delete("/tokens/{token_id}", status_code=204, responses=problems(400, 401, 403, 404, 409, 503))
async def revoke_token(token_id: Id, caller: Writes) -> Response:
    """End a token for ever; the Data API knows within a second. Repeating it changes nothing."""
    async with caller.change() as change:
        found, place = await _found(change.session, caller, Ulid(token_id), Action.TOKEN_REVOKE)
        if await tokens.revoke(change.session, found.token.id):
            await caller.tell(
                change,
                "TOKEN_REVOKE",
                tenant_id=place.tenant_id,
                workspace_id=found.workspace_id,
                base_id=found.token.base_id,
                resource=("token", found.token.id),
            )
        change.answer(204)
    return change.response()


async def _restriction(session: ControlSession, caller: Caller, tenant: Place, body: NewToken) -> Place:
    """Return where the token will work and the caller's role there; refuses what is not the tenant's."""
    place = tenant
    for pointer, look_up, wanted, what in (
        ("/workspace_id", at_workspace, body.workspace_id, "workspace"),
        ("/base_id", at_base, body.base_id, "base"),
    ):
        if wanted is None:
            continue
        found = await look_up(session, Ulid(wanted), caller.user_id)
        foreign = found is None or found.tenant_id != tenant.tenant_id
        if found is None or foreign or (caller.user_id is not None and found.role is None):
            words = f"there is no such {what} in this tenant"
            raise Invalid(words, (Fault(pointer, f"unknown_{what}", words),))
        if place.workspace_id is not None and place.workspace_id != found.workspace_id:
            words = "the base is in another workspace"
            raise Invalid(words, (Fault("/base_id", "other_workspace", words),))
        place = found
    return place


def _check(caller: Writer, place: Place, scopes: list[Scope]) -> None:
    role = place.role if caller.user_id else None
    access.check(role, Action.TOKEN_CREATE)
    access.check_tenant(place.tenant_status, Action.TOKEN_CREATE)
    if role is not None and access.role_of_scopes(frozenset(scopes)) > role:
        raise Forbidden("a token may not do what its maker may not")


async def _found(
    session: ControlSession, caller: Caller, token_id: Ulid, action: Action
) -> tuple[Found, Place]:
    found = await tokens.get(session, token_id)
    if found is None:
        raise missing("token")
    if found.workspace_id is None:
        return found, await caller.at_tenant(session, found.token.tenant_id, action, what="token")
    return found, await caller.at_workspace(session, found.workspace_id, action, what="token")


def _ulid(value: str | None) -> Ulid | None:
    return None if value is None else Ulid(value)


def _text(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
