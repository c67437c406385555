"""A tenant's rows in the Control DB: made step by step, and taken back in reverse."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from core import ids, plan
from core.errors import Conflict, Fault, Invalid, NotFound
from core.ids import Ulid
from db.control import outbox, placements
from db.control.placements import Home
from db.sessions import ControlSession

_MAIN = "Main"


@dataclass(frozen=True)
class Owner:
    """The first person of a tenant."""

    email: str
    name: str


async def reserve(session: ControlSession, tenant_id: Ulid) -> Home:
    """Choose a home for a tenant that has none; Invalid when its region has no cluster that takes tenants."""
    tenant = await _locked(session, tenant_id)
    if tenant["status"] not in ("provisioning", "failed"):
        raise Conflict(f"the tenant is {tenant['status']}", code="not_provisioning")
    # A new operation may take up a tenant that an earlier one gave up.
    await _set_status(session, tenant_id, "provisioning", None)
    there = await placements.home(session, tenant_id)
    if there is not None:
        return there
    cluster = await placements.choose(session, tenant["region"])
    return await placements.reserve(session, tenant_id, cluster, tenant["region"])


async def give_up(session: ControlSession, tenant_id: Ulid, reason: str) -> None:
    """Take back the place, and mark the tenant as failed. Repeating it changes nothing."""
    tenant = await _locked(session, tenant_id)
    if tenant["status"] in ("provisioning", "failed"):
        await placements.release(session, tenant_id)
        await _set_status(session, tenant_id, "failed", reason[:500])


async def open_account(session: ControlSession, tenant_id: Ulid, plan_code: str, owner: Owner | None) -> None:
    """Make wallet, subscription, limits, first workspace and owner. Repeating it changes nothing."""
    await _locked(session, tenant_id)
    row = (
        await session.execute(
            text("select id, tier, monthly_runs from control.plans where code = :code"), {"code": plan_code}
        )
    ).one_or_none()
    if row is None:
        words = f"there is no plan {plan_code!r}"
        raise Invalid(words, (Fault("/plan_code", "unknown_plan", words),), code="unknown_plan")
    await session.execute(
        text("""
            insert into control.wallets (id, tenant_id) values (:id, :tenant_id)
            on conflict (tenant_id) do nothing"""),
        {"id": _id(tenant_id, "wallet"), "tenant_id": tenant_id},
    )
    await session.execute(
        text("""
            insert into control.subscriptions (id, tenant_id, plan_id, period_start, period_end, status)
            values (:id, :tenant_id, :plan_id, date_trunc('month', now(), 'UTC'),
                    date_trunc('month', now(), 'UTC') + interval '1 month', 'active')
            on conflict do nothing"""),
        {"id": _id(tenant_id, "subscription"), "tenant_id": tenant_id, "plan_id": row.id},
    )
    for limit in plan.limits(row.tier, row.monthly_runs):
        await session.execute(
            text("""
                insert into control.rate_limits (id, tenant_id, "window", api_limit, runs_limit)
                values (:id, :tenant_id, :window, :api_limit, :runs_limit)
                on conflict (tenant_id, "window") do nothing"""),
            {
                "id": _id(tenant_id, "limit", limit.window),
                "tenant_id": tenant_id,
                "window": limit.window,
                "api_limit": limit.api_limit,
                "runs_limit": limit.runs_limit,
            },
        )
    await session.execute(
        text("""
            insert into control.workspaces (id, tenant_id, name) values (:id, :tenant_id, :name)
            on conflict (id) do nothing"""),
        {"id": main_workspace(tenant_id), "tenant_id": tenant_id, "name": _MAIN},
    )
    if owner is not None:
        await _welcome(session, tenant_id, owner)


async def close_account(session: ControlSession, tenant_id: Ulid) -> None:
    """Take back what `open_account` made, but no person: they belong to no tenant. Repeating is harmless."""
    if (await _locked(session, tenant_id))["status"] not in ("provisioning", "failed"):
        return
    await session.execute(
        text("""
            delete from control.memberships
             where workspace_id in (select id from control.workspaces where tenant_id = :tenant_id)"""),
        {"tenant_id": tenant_id},
    )
    for table in ("workspaces", "rate_limits", "subscriptions", "wallets"):
        await session.execute(
            text(f"delete from control.{table} where tenant_id = :tenant_id"),  # noqa: S608  (four literals)
            {"tenant_id": tenant_id},
        )


async def activate(session: ControlSession, tenant_id: Ulid, operation_id: Ulid, slug: str) -> None:
    """Let the tenant in, and tell its activity log. Repeating it changes nothing."""
    tenant = await _locked(session, tenant_id)
    if not await placements.open_(session, tenant_id):
        return
    # An operator may have suspended the tenant meanwhile: it stays so.
    if tenant["status"] == "provisioning":
        await _set_status(session, tenant_id, "active", None)
    await outbox.add(
        session,
        "activity",
        _id(tenant_id, "created"),
        datetime.now(UTC),
        {
            "tenant_id": tenant_id,
            "resource_type": "tenant",
            "resource_id": tenant_id,
            "action": "TENANT_CREATE",
            "operation_id": operation_id,
            "diff_json": {"slug": slug, "region": tenant["region"]},
        },
    )


def main_workspace(tenant_id: Ulid) -> Ulid:
    """Return the id of the workspace that a tenant begins with."""
    return _id(tenant_id, "workspace", _MAIN)


async def _welcome(session: ControlSession, tenant_id: Ulid, owner: Owner) -> None:
    await session.execute(
        text("""
            insert into control.users (id, email, name) values (:id, :email, :name)
            on conflict (lower(email)) do nothing"""),
        {"id": _id(tenant_id, "owner"), "email": owner.email, "name": owner.name},
    )
    await session.execute(
        text("""
            insert into control.memberships (id, workspace_id, user_id, role)
            select :id, :workspace_id, id, 'owner' from control.users where lower(email) = lower(:email)
            on conflict (workspace_id, user_id) do nothing"""),
        {
            "id": _id(tenant_id, "membership"),
            "workspace_id": main_workspace(tenant_id),
            "email": owner.email,
        },
    )


async def _locked(session: ControlSession, tenant_id: Ulid) -> dict[str, Any]:
    row = (
        await session.execute(
            text("select id, status, region from control.tenants where id = :id for update"),
            {"id": tenant_id},
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"no tenant {tenant_id}")
    return dict(row._mapping)


async def _set_status(session: ControlSession, tenant_id: Ulid, status: str, reason: str | None) -> None:
    await session.execute(
        text("""
            update control.tenants
               set status = cast(:status as text), status_reason = cast(:reason as text), updated_at = now()
             where id = :id and (status, status_reason)
                   is distinct from (cast(:status as text), cast(:reason as text))"""),
        {"id": tenant_id, "status": status, "reason": reason},
    )


def _id(tenant_id: Ulid, *what: str) -> Ulid:
    # From the tenant's id, so that a second operation for the same tenant means the same rows.
    return ids.derived(ids.ms_of(tenant_id), tenant_id, *what)
