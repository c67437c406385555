"""Plans, and a tenant's subscription."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter
from pydantic import Field, StrictInt, model_validator
from starlette.responses import Response

from api.control.caller import Reads, Writes, missing
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Id, Out, Page, Word, cut
from core.access import Action
from core.errors import Fault, Invalid
from core.ids import Ulid
from core.schema.closed import nearest
from db.control import plans
from db.control.plans import Subscribed

router = APIRouter(tags=["plans"])

MAX_SEATS = 100_000


class PlanOut(Out):
    """A plan: what it allows and costs."""

    id: Ulid
    code: str
    name: str
    tier: int
    monthly_runs: int
    record_cap: int
    storage_cap_gb: float
    features_json: dict[str, Any]
    price_cents: int
    run_price_cents_per_1000: int


class PlanPage(Page):
    """A page of plans."""

    plans: list[PlanOut]


class SubscriptionChange(Closed):
    """The plan or the seats to change to; one at least."""

    plan_code: Word | None = None
    seats: Annotated[StrictInt | None, Field(ge=1, le=MAX_SEATS)] = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.plan_code is None and self.seats is None:
            raise ValueError("plan_code or seats is needed")
        return self


class SubscriptionOut(Out):
    """What a tenant has subscribed to."""

    id: Ulid
    tenant_id: Ulid
    plan: PlanOut
    seats: int
    status: str
    period_start: datetime
    period_end: datetime
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, found: Subscribed) -> "SubscriptionOut":
        """Return what is shown of a subscription."""
        row = found.subscription
        own = {name: getattr(row, name) for name in cls.model_fields if name != "plan"}
        return cls(plan=PlanOut.model_validate(found.plan), **own)


@router.get("/plans", responses=problems(400, 401, 403, 503))
async def list_plans(caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> PlanPage:
    """List the plans that can be had."""
    query = "plans"
    after = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        found = await plans.page(session, after=after, limit=limit + 1)
    rows, more = cut(found, limit)
    return PlanPage(
        plans=[PlanOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.get("/tenants/{tenant_id}/subscription", responses=problems(400, 401, 403, 404, 503))
async def get_subscription(tenant_id: Id, caller: Reads) -> SubscriptionOut:
    """Show a tenant's subscription and its plan."""
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.SUBSCRIPTION_READ)
        found = await plans.current(session, place.tenant_id)
    if found is None:
        raise missing("subscription")
    return SubscriptionOut.of(found)


@router.patch(
    "/tenants/{tenant_id}/subscription",
    response_model=SubscriptionOut,
    responses=problems(400, 401, 403, 404, 409, 422, 503),
)
async def change_subscription(tenant_id: Id, body: SubscriptionChange, caller: Writes) -> Response:
    """Change a tenant's plan or seats; what the plan allows holds from the next metering on."""
    async with caller.change() as change:
        session = change.session
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.SUBSCRIPTION_CHANGE)
        found = await plans.current(session, place.tenant_id)
        if found is None:
            raise missing("subscription")
        plan = found.plan
        if body.plan_code is not None:
            wanted = await plans.by_code(session, body.plan_code)
            if wanted is None:
                words = nearest("plan", body.plan_code, await plans.codes(session))
                raise Invalid(words, (Fault("/plan_code", "unknown_plan", words),))
            plan = wanted
        before = {"plan_code": found.plan.code, "seats": found.subscription.seats}
        row = await plans.change(session, found.subscription.id, plan_id=plan.id, seats=body.seats)
        await caller.tell(
            change,
            "SUBSCRIPTION_CHANGE",
            tenant_id=place.tenant_id,
            resource=("subscription", row.id),
            diff={"before": before, "after": {"plan_code": plan.code, "seats": row.seats}},
        )
        change.answer(200, SubscriptionOut.of(Subscribed(row, plan)))
    return change.response()
