"""Tenants, as operators see and stop them."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.admin.caller import Acts, Reads, missing
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Id, Out, Page, Prose, cut
from core.audit import AdminAction
from core.errors import Conflict
from core.ids import Ulid
from db.control import plans, tenants, wallets
from db.control.models import Placement, Tenant

router = APIRouter(prefix="/tenants", tags=["tenants"])

Status = Literal["provisioning", "active", "suspended", "failed", "deleted"]


class PlacementOut(Out):
    """Where a tenant lives."""

    cluster_id: str
    database: str
    schema_name: str
    region: str
    state: str
    generation: int

    @classmethod
    def of(cls, row: Placement) -> "PlacementOut":
        """Return what is shown of a placement."""
        own = {name: getattr(row, name) for name in cls.model_fields if name != "schema_name"}
        return cls(**own, schema_name=row.schema)


class WalletOut(Out):
    """A tenant's money."""

    id: Ulid
    balance_cents: int
    auto_refill_enabled: bool
    refill_threshold_cents: int
    refill_amount_cents: int


class SubscriptionOut(Out):
    """What a tenant has subscribed to."""

    id: Ulid
    plan_code: str
    seats: int
    status: str
    period_start: datetime
    period_end: datetime


class TenantOut(Out):
    """A tenant with its home."""

    id: Ulid
    slug: str
    name: str
    region: str
    status: str
    status_reason: str | None
    created_at: datetime
    updated_at: datetime
    placement: PlacementOut | None = None


class TenantDetail(TenantOut):
    """A tenant with its home, its wallet and its subscription."""

    wallet: WalletOut | None
    subscription: SubscriptionOut | None


class TenantPage(Page):
    """A page of tenants."""

    tenants: list[TenantOut]


class Suspension(Closed):
    """Why a tenant is stopped; the tenant sees it."""

    reason: Prose


@router.get("", name=AdminAction.TENANT_LIST, responses=problems(400, 401, 503))
async def list_tenants(
    operator: Reads,
    status: Annotated[Status | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> TenantPage:
    """List tenants by id, with their homes."""
    query = f"tenants {status}"
    after = operator.parts.cursors.read(query, cursor) if cursor else None
    async with operator.reading() as session:
        found = await tenants.page(session, status=status, after=after, limit=limit + 1)
        rows, more = cut(found, limit)
        homes = await tenants.with_homes(session, [row.id for row in rows])
    return TenantPage(
        tenants=[_shown(row, homes.get(row.id)) for row in rows],
        next_cursor=operator.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.get("/{tenant_id}", name=AdminAction.TENANT_GET, responses=problems(400, 401, 404, 503))
async def get_tenant(tenant_id: Id, operator: Reads) -> TenantDetail:
    """Show a tenant: status, home, wallet and subscription."""
    async with operator.reading() as session:
        tenant = await tenants.get(session, Ulid(tenant_id))
        if tenant is None:
            raise missing("tenant")
        homes = await tenants.with_homes(session, [tenant.id])
        wallet = await wallets.of_tenant(session, tenant.id)
        found = await plans.current(session, tenant.id)
    subscription = None
    if found is not None:
        row = found.subscription
        subscription = SubscriptionOut(
            id=row.id,
            plan_code=found.plan.code,
            seats=row.seats,
            status=row.status,
            period_start=row.period_start,
            period_end=row.period_end,
        )
    return TenantDetail(
        **_shown(tenant, homes.get(tenant.id)).model_dump(),
        wallet=None if wallet is None else WalletOut.model_validate(wallet),
        subscription=subscription,
    )


@router.post(
    "/{tenant_id}/suspend",
    name=AdminAction.TENANT_SUSPEND,
    response_model=TenantOut,
    responses=problems(400, 401, 404, 409, 422, 503),
)
async def suspend_tenant(tenant_id: Id, body: Suspension, actor: Acts) -> Response:
    """Stop a tenant: within a second the Data API refuses its tokens; its data stays."""
    return await _switch(actor, Ulid(tenant_id), "active", "suspended", body.reason)


@router.post(
    "/{tenant_id}/resume",
    name=AdminAction.TENANT_RESUME,
    response_model=TenantOut,
    responses=problems(400, 401, 404, 409, 503),
)
async def resume_tenant(tenant_id: Id, actor: Acts) -> Response:
    """Let a suspended tenant go on."""
    return await _switch(actor, Ulid(tenant_id), "suspended", "active", None)


async def _switch(actor: Acts, tenant_id: Ulid, old: Status, new: Status, reason: str | None) -> Response:
    async with actor.change() as change:
        tenant = await tenants.locked(change.session, tenant_id)
        if tenant is None:
            raise missing("tenant")
        if tenant.status != old:
            raise Conflict(f"the tenant is {tenant.status}, not {old}", code="wrong_status")
        changed = await tenants.set_status(change.session, tenant_id, new, reason)
        details = {"before": old, "after": new, "reason": reason}
        await actor.record(change, 200, tenant_id=tenant_id, target=("tenant", tenant_id), details=details)
        await actor.tell_tenant(
            change,
            actor.action.value,
            tenant_id=tenant_id,
            resource=("tenant", tenant_id),
            diff={"status": {"before": old, "after": new}, "reason": reason},
        )
        homes = await tenants.with_homes(change.session, [tenant_id])
        change.answer(200, _shown(changed, homes.get(tenant_id)))
    return change.response()


def _shown(row: Tenant, home: Placement | None) -> TenantOut:
    own = {name: getattr(row, name) for name in TenantOut.model_fields if name != "placement"}
    return TenantOut(**own, placement=None if home is None else PlacementOut.of(home))
