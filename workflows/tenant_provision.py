"""Provision a tenant: complete, or nothing of its home remains."""

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.tenant_provision import GiveUp, Provision
    from activities.tenant_provision import TenantProvisionActivities as Do
    from workflows.options import FAST, LOCKY
    from workflows.shared import Process, Start, Undo
    from workflows.status import Problem


class Provisioned(BaseModel):
    """Where the new tenant lives, and the workspace that it begins with."""

    tenant_id: str
    cluster_id: str
    workspace_id: str


@workflow.defn
class TenantProvision(Process):
    """Gives a new tenant its home; undone in reverse until callers are let in, also after a termination."""

    @workflow.run
    async def run(self, start: Start) -> Provisioned:
        """Provision the tenant of this operation."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> Provisioned:
        tenant = Provision(**self.subject)
        undos = {
            "place": Undo(Do.give_up, lambda problem: GiveUp(**self.subject, reason=problem.detail)),
            "create_home": Undo(Do.drop_home, tenant, LOCKY),
            "open_account": Undo(Do.close_account, tenant),
        }
        if self.start.left is not None:
            return await self._clear_up(tenant, undos, self.start.left)
        self.expect("place", "create_home", "open_account", "activate")
        placed = await self.step(
            "place", Do.place, tenant, undo=undos["place"], label="choose a cluster in the tenant's region"
        )
        await self.step(
            "create_home",
            Do.create_home,
            tenant,
            LOCKY,
            undo=undos["create_home"],
            label=f"role, schema and policies on cluster {placed.cluster_id}",
        )
        opened = await self.step(
            "open_account",
            Do.open_account,
            tenant,
            undo=undos["open_account"],
            label="wallet, subscription, limits, first workspace",
        )
        self.no_return()
        await self.step("activate", Do.activate, tenant, FAST, label="let callers in")
        return Provisioned(
            tenant_id=tenant.tenant_id, cluster_id=placed.cluster_id, workspace_id=opened.workspace_id
        )

    async def _clear_up(self, tenant: Provision, undos: dict[str, Undo], left: Problem) -> Provisioned:
        """After a run that was ended from outside: done if it had let callers in, else all is taken back."""
        for name, undo in undos.items():
            self.may_have_done(name, undo)
        found = await self.step("find", Do.find, tenant, label="were callers let in?")
        if found.cluster_id is None:
            raise ApplicationError(
                f"{left.detail}; what it had made was taken back, and it may be asked for again",
                type=left.code,
                non_retryable=True,
            )
        return Provisioned(
            tenant_id=tenant.tenant_id, cluster_id=found.cluster_id, workspace_id=found.workspace_id
        )
