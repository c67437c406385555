"""The platform as a whole: what runs where, and what waits."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import StringConstraints

from api.admin.caller import Reads, missing
from api.operations import OperationOut, OperationPage
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Id, Out, cut
from core.audit import AdminAction
from core.ids import Ulid
from db.control import operations, platform, tenants
from db.control.platform import Populated

router = APIRouter(tags=["platform"])

State = Literal["queued", "running", "succeeded", "failed", "canceled"]
KindName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,60}$")]


class ClusterOut(Out):
    """A server of Data DBs, and how many tenants live there."""

    id: str
    host: str
    port: int
    database: str
    region: str
    cluster_class: str
    state: str
    tenants: int
    created_at: datetime

    @classmethod
    def of(cls, found: Populated) -> "ClusterOut":
        """Return what is shown of a cluster."""
        row = found.cluster
        own = ("id", "host", "port", "database", "region", "state", "created_at")
        return cls(**{name: getattr(row, name) for name in own}, cluster_class=row.cls, tenants=found.tenants)


class Clusters(Out):
    """All clusters."""

    clusters: list[ClusterOut]


class Overview(Out):
    """The platform at a glance."""

    tenants: dict[str, int]
    operations: dict[str, int]
    clusters: dict[str, int]
    wallets_balance_cents: int


@router.get("/overview", name=AdminAction.PLATFORM_OVERVIEW, responses=problems(400, 401, 503))
async def overview(operator: Reads) -> Overview:
    """Show how many tenants there are by status, what waits and runs, and clusters by state."""
    async with operator.reading() as session:
        by_state: dict[str, int] = {}
        for found in await platform.clusters(session):
            by_state[found.cluster.state] = by_state.get(found.cluster.state, 0) + 1
        return Overview(
            tenants=await tenants.counts(session),
            operations=await platform.operation_counts(session),
            clusters=by_state,
            wallets_balance_cents=await platform.balance_cents(session),
        )


@router.get("/clusters", name=AdminAction.CLUSTER_LIST, responses=problems(400, 401, 503))
async def list_clusters(operator: Reads) -> Clusters:
    """List all clusters by id, with the number of tenants on each."""
    async with operator.reading() as session:
        return Clusters(clusters=[ClusterOut.of(found) for found in await platform.clusters(session)])


@router.get("/operations", name=AdminAction.OPERATION_LIST, responses=problems(400, 401, 503))
async def list_operations(
    operator: Reads,
    tenant_id: Annotated[Id | None, Query()] = None,
    kind: Annotated[KindName | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> OperationPage:
    """List operations, newest first."""
    query = f"operations {tenant_id} {kind} {state}"
    before = operator.parts.cursors.read(query, cursor) if cursor else None
    async with operator.reading() as session:
        found = await platform.operations_page(
            session,
            tenant_id=None if tenant_id is None else Ulid(tenant_id),
            kind=kind,
            state=state,
            before=before,
            limit=limit + 1,
        )
    rows, more = cut(found, limit)
    return OperationPage(
        operations=[OperationOut.of(row, operator.parts.runs_url) for row in rows],
        next_cursor=operator.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.get(
    "/operations/{operation_id}", name=AdminAction.OPERATION_GET, responses=problems(400, 401, 404, 503)
)
async def get_operation(operation_id: Id, operator: Reads) -> OperationOut:
    """Show one operation, with the link to its run."""
    async with operator.reading() as session:
        found = await operations.get(session, Ulid(operation_id))
    if found is None:
        raise missing("operation")
    return OperationOut.of(found, operator.parts.runs_url)
