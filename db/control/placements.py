"""Where tenants live: clusters that can be had, and one home per tenant."""

from dataclasses import dataclass
from typing import Literal

import asyncpg
from sqlalchemy import text

from core.errors import Fault, Invalid, NotFound
from core.ids import Ulid
from db.sessions import ControlSession

PlacementState = Literal["provisioning", "active", "moving", "closed"]


@dataclass(frozen=True)
class Cluster:
    """One data cluster: how it is reached, and no secret."""

    id: str
    host: str
    port: int
    database: str


@dataclass(frozen=True)
class Home:
    """A tenant's place: on which cluster, in which schema, for the how-many-eth time."""

    tenant_id: Ulid
    cluster_id: str
    database: str
    schema: str
    region: str
    state: PlacementState
    generation: int


async def ensure_cluster(
    owner_dsn: str,
    *,
    id: str,  # noqa: A002
    host: str,
    port: int,
    database: str,
    region: str,
    class_: str,
) -> None:
    """Make a data cluster known, or correct its address; its state and its tenants stay as they are."""
    conn = await asyncpg.connect(owner_dsn)
    try:
        await conn.execute(
            """
            insert into control.clusters (id, host, port, database, region, class)
            values ($1, $2, $3, $4, $5, $6)
            on conflict (id) do update set host = $2, port = $3, database = $4, updated_at = now()
             where (clusters.host, clusters.port, clusters.database) is distinct from ($2, $3, $4)""",
            id,
            host,
            port,
            database,
            region,
            class_,
        )
    finally:
        await conn.close()


async def cluster(session: ControlSession, cluster_id: str) -> Cluster:
    """Return how a cluster is reached."""
    row = (
        await session.execute(
            text("select id, host, port, database from control.clusters where id = :id"), {"id": cluster_id}
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"no cluster {cluster_id}")
    return Cluster(**row._mapping)


async def home(session: ControlSession, tenant_id: Ulid) -> Home | None:
    """Return where a tenant lives, or None where it has no place."""
    row = (
        await session.execute(
            text("""
                select tenant_id, cluster_id, database, schema, region, state, generation
                  from gateway.placements where tenant_id = :tenant_id"""),
            {"tenant_id": tenant_id},
        )
    ).one_or_none()
    return None if row is None else Home(**row._mapping)


async def home_of(session: ControlSession, tenant_id: Ulid) -> Home:
    """Return where a tenant lives; NotFound where it has no place."""
    found = await home(session, tenant_id)
    if found is None:
        raise NotFound(f"tenant {tenant_id} has no home")
    return found


async def choose(session: ControlSession, region: str) -> Cluster:
    """Return the active shared cluster with the fewest tenants in a region; Invalid when there is none."""
    row = (
        await session.execute(
            text("""
                select c.id, c.host, c.port, c.database
                  from control.clusters c left join gateway.placements p on p.cluster_id = c.id
                 where c.region = :region and c.class = 'shared' and c.state = 'active'
                 group by c.id order by count(p.tenant_id), c.id limit 1"""),
            {"region": region},
        )
    ).one_or_none()
    if row is None:
        words = f"there is no cluster in region {region!r} that takes tenants"
        raise Invalid(words, (Fault("/region", "no_cluster", words),), code="no_cluster")
    return Cluster(**row._mapping)


async def reserve(session: ControlSession, tenant_id: Ulid, cluster: Cluster, region: str) -> Home:
    """Give a tenant its first place, closed to callers; one that it has already stays."""
    await session.execute(
        text("""
            insert into gateway.placements
                   (tenant_id, cluster_id, database, schema, region, state, generation)
            values (:tenant_id, :cluster_id, :database, :schema, :region, 'provisioning', 1)
            on conflict (tenant_id) do nothing"""),
        {
            "tenant_id": tenant_id,
            "cluster_id": cluster.id,
            "database": cluster.database,
            "schema": f"tenant_{tenant_id}",
            "region": region,
        },
    )
    return await home_of(session, tenant_id)


async def open_(session: ControlSession, tenant_id: Ulid) -> bool:
    """Let callers in. Repeating it changes nothing and answers False."""
    done = await session.execute(
        text("""
            update gateway.placements set state = 'active', updated_at = now()
             where tenant_id = :tenant_id and state = 'provisioning' returning tenant_id"""),
        {"tenant_id": tenant_id},
    )
    return done.one_or_none() is not None


async def release(session: ControlSession, tenant_id: Ulid) -> None:
    """Take back a place that no caller was let into. Repeating it changes nothing."""
    await session.execute(
        text("delete from gateway.placements where tenant_id = :tenant_id and state = 'provisioning'"),
        {"tenant_id": tenant_id},
    )
