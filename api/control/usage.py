"""What a tenant has used, and may use."""

from datetime import date, datetime

from fastapi import APIRouter

from api.control.caller import Reads
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Id, Out, Page, cut
from core.access import Action
from core.ids import Ulid
from db.control import plans, rate_limits, usage

router = APIRouter(prefix="/tenants/{tenant_id}", tags=["usage"])


class MonthOut(Out):
    """What was used in one month (UTC)."""

    month: date
    runs_used: int
    storage_gb_used: float
    api_calls: int
    records_count: int
    updated_at: datetime | None


class MonthPage(Page):
    """A page of months, newest first."""

    months: list[MonthOut]


class Allowance(Out):
    """What the tenant's plan includes."""

    plan_code: str
    monthly_runs: int
    record_cap: int
    storage_cap_gb: float


class CurrentUsage(MonthOut):
    """The present month, beside what the plan includes."""

    allowance: Allowance | None


class RateLimitOut(Out):
    """A bound on calls and runs per window; null is none."""

    window: str
    api_limit: int | None
    runs_limit: int | None


class RateLimits(Out):
    """A tenant's rate limits."""

    rate_limits: list[RateLimitOut]


@router.get("/usage", responses=problems(400, 401, 403, 404, 503))
async def list_usage(
    tenant_id: Id, caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> MonthPage:
    """List a tenant's months, newest first."""
    query = f"usage {tenant_id}"
    before = date.fromisoformat(caller.parts.cursors.read(query, cursor)) if cursor else None
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.USAGE_READ)
        found = await usage.months(session, place.tenant_id, before=before, limit=limit + 1)
    rows, more = cut(found, limit)
    return MonthPage(
        months=[MonthOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].month.isoformat()) if more else None,
    )


@router.get("/usage/current", responses=problems(400, 401, 403, 404, 503))
async def current_usage(tenant_id: Id, caller: Reads) -> CurrentUsage:
    """Show the present month as it was metered last, beside what the plan includes."""
    month = caller.at.date().replace(day=1)
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.USAGE_READ)
        row = await usage.of_month(session, place.tenant_id, month)
        found = await plans.current(session, place.tenant_id)
    allowance = None
    if found is not None:
        plan = found.plan
        allowance = Allowance(
            plan_code=plan.code,
            monthly_runs=plan.monthly_runs,
            record_cap=plan.record_cap,
            storage_cap_gb=plan.storage_cap_gb,
        )
    if row is None:
        return CurrentUsage(
            month=month,
            runs_used=0,
            storage_gb_used=0.0,
            api_calls=0,
            records_count=0,
            updated_at=None,
            allowance=allowance,
        )
    return CurrentUsage(**MonthOut.model_validate(row).model_dump(), allowance=allowance)


@router.get("/rate-limits", responses=problems(400, 401, 403, 404, 503))
async def list_rate_limits(tenant_id: Id, caller: Reads) -> RateLimits:
    """List a tenant's rate limits: one for each kind of window at most."""
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.USAGE_READ)
        rows = await rate_limits.of_tenant(session, place.tenant_id)
    return RateLimits(rate_limits=[RateLimitOut.model_validate(row) for row in rows])
