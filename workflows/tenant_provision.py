"""Provision a tenant: complete, or nothing of its home remains."""

from pydantic import BaseModel
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.tenant_provision import GiveUp, Provision
    from activities.tenant_provision import TenantProvisionActivities as Do
    from workflows.options import FAST, LOCKY
    from workflows.shared import Process, Start, Undo


class Provisioned(BaseModel):
    """Where the new tenant lives, and the workspace that it begins with."""

    tenant_id: str
    cluster_id: str
    workspace_id: str


@workflow.defn
class TenantProvision(Process):
    """Gives a new tenant its home; undone in reverse until callers are let in."""

    @workflow.run
    async def run(self, start: Start) -> Provisioned:
        """Provision the tenant of this operation."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> Provisioned:
        self.expect("place", "create_home", "open_account", "activate")
        tenant = Provision(**self.subject)
        placed = await self.step(
            "place",
            Do.place,
            tenant,
            undo=Undo(Do.give_up, lambda problem: GiveUp(**self.subject, reason=problem.detail)),
            label="choose a cluster in the tenant's region",
        )
        await self.step(
            "create_home",
            Do.create_home,
            tenant,
            LOCKY,
            undo=Undo(Do.drop_home, tenant, LOCKY),
            label=f"role, schema and policies on cluster {placed.cluster_id}",
        )
        opened = await self.step(
            "open_account",
            Do.open_account,
            tenant,
            undo=Undo(Do.close_account, tenant),
            label="wallet, subscription, limits, first workspace",
        )
        self.no_return()
        await self.step("activate", Do.activate, tenant, FAST, label="let callers in")
        return Provisioned(
            tenant_id=tenant.tenant_id, cluster_id=placed.cluster_id, workspace_id=opened.workspace_id
        )
