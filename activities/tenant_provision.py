"""What provisioning a tenant does, step by step, and what takes each step back."""

from pydantic import BaseModel
from temporalio import activity

from activities.shared import Outcome, Subject
from core.errors import Invalid
from core.ids import Ulid
from db.control import operations, placements, provisioning
from db.data import tenants
from db.router import Clusters
from db.sessions import ControlSession
from db.transactions import Sessions


class Provision(Subject):
    """Which tenant; everything else stands in its rows."""

    tenant_id: str


class GiveUp(Provision):
    """Why a tenant could not be provisioned, in words for whoever asked for it."""

    reason: str


class Placed(Outcome):
    """Where the tenant will live."""

    cluster_id: str
    schema_name: str
    generation: int


class Opened(Outcome):
    """The workspace that the tenant begins with."""

    workspace_id: str


class Found(Outcome):
    """What a run that was ended from outside has left: a cluster where callers were let in, else None."""

    cluster_id: str | None
    workspace_id: str


class Wanted(BaseModel):
    """The input of the operation."""

    slug: str
    plan_code: str = "free"
    owner_email: str | None = None
    owner_name: str | None = None

    @property
    def owner(self) -> provisioning.Owner | None:
        """The first person, where one is named."""
        if self.owner_email is None:
            return None
        return provisioning.Owner(self.owner_email, self.owner_name or self.owner_email.partition("@")[0])


class TenantProvisionActivities:
    """Each is one transaction in one database, and repeating it changes nothing."""

    def __init__(self, control: Sessions[ControlSession], clusters: Clusters) -> None:
        self._control = control
        self._clusters = clusters

    @activity.defn
    async def place(self, provision: Provision) -> Placed:
        """Choose a cluster in the tenant's region; Invalid when none takes tenants."""
        async with self._control.begin() as session:
            await operations.require_wanted(session, Ulid(provision.operation_id))
            home = await provisioning.reserve(session, Ulid(provision.tenant_id))
        return Placed(cluster_id=home.cluster_id, schema_name=home.schema, generation=home.generation)

    @activity.defn
    async def give_up(self, given: GiveUp) -> None:
        """Take back the place and mark the tenant as failed."""
        async with self._control.begin() as session:
            await provisioning.give_up(session, Ulid(given.tenant_id), given.reason)

    @activity.defn
    async def create_home(self, provision: Provision) -> Outcome:
        """Make role, schema, policies and fence in one transaction."""
        home = await self._clusters.home(Ulid(provision.tenant_id))
        async with self._clusters.transaction(home.cluster_id) as conn:
            await tenants.create_home(
                conn, Ulid(provision.tenant_id), Ulid(provision.operation_id), home.generation
            )
        return Outcome()

    @activity.defn
    async def drop_home(self, provision: Provision) -> None:
        """Take back role, schema, policies and fence; a home that callers were let into stays."""
        async with self._control() as session:
            home = await placements.home(session, Ulid(provision.tenant_id))
        if home is None or home.state != "provisioning":
            return
        async with self._clusters.transaction(home.cluster_id) as conn:
            await tenants.drop_home(conn, Ulid(provision.tenant_id), Ulid(provision.operation_id))

    @activity.defn
    async def open_account(self, provision: Provision) -> Opened:
        """Make wallet, subscription, limits, first workspace and owner; Invalid for an unknown plan."""
        async with self._control.begin() as session:
            wanted = await self._wanted(session, provision)
            await provisioning.open_account(
                session, Ulid(provision.tenant_id), wanted.plan_code, wanted.owner
            )
        return Opened(workspace_id=provisioning.main_workspace(Ulid(provision.tenant_id)))

    @activity.defn
    async def close_account(self, provision: Provision) -> None:
        """Take back what `open_account` made."""
        async with self._control.begin() as session:
            await provisioning.close_account(session, Ulid(provision.tenant_id))

    @activity.defn
    async def activate(self, provision: Provision) -> Outcome:
        """Let the tenant in, and tell its activity log."""
        async with self._control.begin() as session:
            wanted = await self._wanted(session, provision)
            await provisioning.activate(
                session, Ulid(provision.tenant_id), Ulid(provision.operation_id), wanted.slug
            )
        return Outcome()

    @activity.defn
    async def find(self, provision: Provision) -> Found:
        """Say whether callers were let in."""
        async with self._control() as session:
            home = await placements.home(session, Ulid(provision.tenant_id))
        return Found(
            cluster_id=None if home is None or home.state == "provisioning" else home.cluster_id,
            workspace_id=provisioning.main_workspace(Ulid(provision.tenant_id)),
        )

    async def _wanted(self, session: ControlSession, provision: Provision) -> Wanted:
        await operations.require_wanted(session, Ulid(provision.operation_id))
        row = await operations.get(session, Ulid(provision.operation_id))
        if row is None:
            raise Invalid(f"there is no operation {provision.operation_id}")
        return Wanted.model_validate(row.input)
