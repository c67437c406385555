"""Tenants: asked for here, made by a workflow."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, StringConstraints
from starlette.responses import Response

from api.control.caller import Caller, Reads, Writer, Writes, missing
from api.control.work import Accepted, accepted, enqueue
from api.once import Change
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Email, Id, Name, Out, Page, Word, cut
from core import ids
from core.access import Action
from core.errors import Conflict, Fault, Invalid
from core.ids import Ulid
from core.schema.closed import nearest
from db.control import operations, plans, tenants, users
from db.control.models import Tenant
from db.sessions import ControlSession

router = APIRouter(prefix="/tenants", tags=["tenants"])

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
DEFAULT_PLAN = "free"


class Owner(Closed):
    """The first owner, by address; known people are found by it, others are made."""

    email: Email
    name: Name


class NewTenant(Closed):
    """A tenant to be provisioned. For an acting user that user becomes its owner."""

    slug: Slug
    name: Name
    region: Word | None = Field(default=None, description="May be left out where there is one region.")
    plan_code: Word = DEFAULT_PLAN
    owner: Owner | None = None


class TenantChange(Closed):
    """What can be changed of a tenant."""

    name: Name


class TenantOut(Out):
    """A tenant."""

    id: Ulid
    slug: str
    name: str
    region: str
    status: str
    status_reason: str | None
    created_at: datetime
    updated_at: datetime


class TenantPage(Page):
    """A page of tenants."""

    tenants: list[TenantOut]


@router.post("", status_code=202, response_model=Accepted, responses=problems(400, 401, 403, 409, 422, 503))
async def create_tenant(body: NewTenant, caller: Writes) -> Response:
    """Ask for a tenant. The operation's end says that everything of it is there, or nothing."""
    async with caller.change() as change:
        session = change.session
        region = await _region(session, body.region)
        await _check_plan(session, body.plan_code)
        owner = await _owner(session, caller, body.owner)
        tenant = await tenants.create(session, ids.new(), body.slug, body.name, region)
        asked = {
            "slug": tenant.slug,
            "name": tenant.name,
            "region": tenant.region,
            "plan_code": body.plan_code,
            "owner_email": owner.email if owner else None,
            "owner_name": owner.name if owner else None,
        }
        await _provision(caller, change, tenant, asked)
    return change.response()


@router.get("", responses=problems(400, 401, 403, 503))
async def list_tenants(caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> TenantPage:
    """List tenants by id: the acting user's own, or all."""
    query = f"tenants {caller.user_id}"
    after = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        found = await tenants.page(session, member=caller.user_id, after=after, limit=limit + 1)
    rows, more = cut(found, limit)
    return TenantPage(
        tenants=[TenantOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.get("/{tenant_id}", responses=problems(400, 401, 403, 404, 503))
async def get_tenant(tenant_id: Id, caller: Reads) -> TenantOut:
    """Show one tenant."""
    async with caller.reading() as session:
        await caller.at_tenant(session, Ulid(tenant_id), Action.TENANT_READ)
        return TenantOut.model_validate(await tenants.get(session, Ulid(tenant_id)))


@router.patch("/{tenant_id}", response_model=TenantOut, responses=problems(400, 401, 403, 404, 409, 422, 503))
async def rename_tenant(tenant_id: Id, body: TenantChange, caller: Writes) -> Response:
    """Give a tenant another name."""
    async with caller.change() as change:
        place = await caller.at_tenant(change.session, Ulid(tenant_id), Action.TENANT_RENAME)
        tenant = await tenants.rename(change.session, place.tenant_id, body.name)
        await caller.tell(
            change,
            "TENANT_UPDATE",
            tenant_id=tenant.id,
            resource=("tenant", tenant.id),
            diff={"name": body.name},
        )
        change.answer(200, TenantOut.model_validate(tenant))
    return change.response()


@router.post(
    "/{tenant_id}/provision",
    status_code=202,
    response_model=Accepted,
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def provision_again(tenant_id: Id, caller: Writes) -> Response:
    """Try once more to provision a tenant whose last try is over and has not let it in."""
    async with caller.change() as change:
        caller.service_only("provisioning again")
        tenant = await tenants.locked(change.session, Ulid(tenant_id))
        if tenant is None:
            raise missing("tenant")
        tried = await operations.list_for_tenant(change.session, tenant.id, kind="tenant_provision", limit=1)
        if not tried:
            raise Conflict("nobody has asked for this tenant", code="tenant_not_failed")
        is_over = tried[0].state not in ("queued", "running")
        if tenant.status != "failed" and not (tenant.status == "provisioning" and is_over):
            raise Conflict(f"the tenant is {tenant.status}", code="tenant_not_failed")
        await _provision(caller, change, tenant, tried[0].input)
    return change.response()


async def _provision(caller: Writer, change: Change, tenant: Tenant, asked: dict[str, Any]) -> None:
    caller.concerns(tenant.id)
    operation = await enqueue(
        caller,
        change,
        kind="tenant_provision",
        subject_id=tenant.id,
        tenant_id=tenant.id,
        input=asked,
    )
    await caller.tell(
        change,
        "TENANT_PROVISION_REQUEST",
        tenant_id=tenant.id,
        resource=("tenant", tenant.id),
        diff={name: asked[name] for name in ("slug", "region", "plan_code")},
    )
    accepted(caller, change, operation)


async def _region(session: ControlSession, asked: str | None) -> str:
    known = await tenants.regions(session)
    if asked is None and len(known) == 1:
        return known[0]
    if asked in known:
        return str(asked)
    words = nearest("region", asked, known) if asked else f"say in which region: {', '.join(known)}"
    raise Invalid(words, (Fault("/region", "unknown_region", words),))


async def _check_plan(session: ControlSession, code: str) -> None:
    if await plans.by_code(session, code) is None:
        words = nearest("plan", code, await plans.codes(session))
        raise Invalid(words, (Fault("/plan_code", "unknown_plan", words),))


async def _owner(session: ControlSession, caller: Caller, asked: Owner | None) -> Owner | None:
    if caller.user_id is None:
        return asked
    user = await users.get(session, caller.user_id)
    if user is None:
        raise missing("user")
    if asked is not None and asked.email.lower() != user.email.lower():
        words = "the acting user becomes the owner"
        raise Invalid(words, (Fault("/owner", "not_the_acting_user", words),))
    return Owner.model_construct(email=user.email, name=user.name)
