"""The platform as a whole, for its operators."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from core.ids import Ulid
from db.control import operations
from db.control.models import Cluster, Operation, Placement, Wallet
from db.sessions import ControlSession

_MAX_CLUSTERS = 1_000


@dataclass(frozen=True)
class Populated:
    """A cluster, and how many tenants have their home there."""

    cluster: Cluster
    tenants: int


async def clusters(session: ControlSession) -> Sequence[Populated]:
    """Return all clusters by id, with the number of their tenants."""
    query = (
        select(Cluster, func.count(Placement.tenant_id))
        .outerjoin(Placement, Placement.cluster_id == Cluster.id)
        .group_by(Cluster.id)
        .order_by(Cluster.id)
        .limit(_MAX_CLUSTERS)
    )
    return [Populated(cluster, count) for cluster, count in await session.execute(query)]


async def operation_counts(session: ControlSession) -> dict[str, int]:
    """Return how many operations wait and how many are under way."""
    # Those that are over are not counted: there is no end to them.
    query = (
        select(Operation.state, func.count())
        .where(Operation.state.in_(("queued", "running")))
        .group_by(Operation.state)
    )
    found = {state: count for state, count in await session.execute(query)}  # noqa: C416
    return {"queued": found.get("queued", 0), "running": found.get("running", 0)}


async def balance_cents(session: ControlSession) -> int:
    """Return what all wallets hold together."""
    return int(await session.scalar(select(func.coalesce(func.sum(Wallet.balance_cents), 0))) or 0)


async def operations_page(
    session: ControlSession,
    *,
    tenant_id: Ulid | None,
    kind: str | None,
    state: str | None,
    before: Ulid | None,
    limit: int,
) -> Sequence[operations.Operation]:
    """Return operations, newest first, those before `before`."""
    query = select(Operation).order_by(Operation.id.desc()).limit(limit)
    for column, value in (
        (Operation.tenant_id, tenant_id),
        (Operation.kind, kind),
        (Operation.state, state),
    ):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(Operation.id < before)
    return [_plain(row) for row in await session.scalars(query)]


def _plain(row: Operation) -> operations.Operation:
    renamed = {"input": "input_json", "result": "result_json", "error": "error_json"}
    names = operations.Operation.__dataclass_fields__
    return operations.Operation(**{name: getattr(row, renamed.get(name, name)) for name in names})
