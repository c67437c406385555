"""Rows that tests of money, alerts and activity begin with, written as the owners would."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from core.ids import Ulid, new
from tests.conftest import CLUSTER_ID, Databases

PLANS = {"free": "01kb0000000000000000000001", "team": "01kb0000000000000000000002"}


@dataclass(frozen=True)
class Tenant:
    """A tenant with a wallet, and one table of its own where it was asked for."""

    id: Ulid
    wallet_id: Ulid
    workspace_id: Ulid
    base_id: Ulid
    table_id: Ulid
    field_id: Ulid

    @property
    def schema(self) -> str:
        """Where its tables are."""
        return f"tenant_{self.id}"

    @property
    def table(self) -> str:
        """The physical table, quoted."""
        return f'"{self.schema}"."t_{self.table_id}"'


async def tenant(
    databases: Databases,
    *,
    plan: str = "free",
    balance_cents: int = 0,
    threshold_cents: int = 0,
    refill_cents: int = 0,
    auto_refill: bool = False,
    customer: str | None = None,
    with_table: bool = False,
) -> Tenant:
    """Make a live tenant; each test has its own, so that they share one set of databases."""
    made = Tenant(new(), new(), new(), new(), new(), new())
    async with databases.own("control") as conn:
        await conn.execute(
            "insert into control.tenants (id, slug, name, region, status)"
            " values ($1, $2, 'T', 'local', 'active')",
            made.id, str(made.id),
        )  # fmt: skip
        await conn.execute(
            "insert into control.subscriptions (id, tenant_id, plan_id, period_start, period_end, status)"
            " values ($1, $2, $3, now(), now() + interval '1 month', 'active')",
            new(), made.id, PLANS[plan],
        )  # fmt: skip
        await conn.execute(
            "insert into control.wallets (id, tenant_id, auto_refill_enabled, refill_threshold_cents,"
            " refill_amount_cents, payment_customer) values ($1, $2, $3, $4, $5, $6)",
            made.wallet_id, made.id, auto_refill, threshold_cents, refill_cents, customer or made.wallet_id,
        )  # fmt: skip
        if balance_cents:
            await conn.execute(
                "insert into control.wallet_ledger"
                " (id, wallet_id, type, amount_cents, ref, seq, balance_after_cents)"
                " values ($1, $2, 'topup', $3, 'opening', 0, 0)",
                new(), made.wallet_id, balance_cents,
            )  # fmt: skip
        await conn.execute(
            "insert into gateway.placements"
            " (tenant_id, cluster_id, database, schema, region, state, generation)"
            " values ($1, $2, 'data', $3, 'local', 'active', 1)",
            made.id, CLUSTER_ID, made.schema,
        )  # fmt: skip
    async with databases.own("data") as conn:
        await conn.execute(
            "insert into platform.fences (tenant_id, generation, state) values ($1, 1, 'open')", made.id
        )
        if with_table:
            await _make_table(conn, made)
    return made


async def _make_table(conn: asyncpg.Connection, made: Tenant) -> None:
    arguments = ", ".join(f"'{part}'" for part in (made.id, made.workspace_id, made.base_id, made.table_id))
    await conn.execute(f"""
        create schema "{made.schema}" authorization tenant_owner;
        create table {made.table} (
          id text primary key, version bigint not null default 1, created_at timestamptz default now(),
          extra jsonb, "f_{made.field_id}" text);
        create trigger c after insert on {made.table} referencing new table as new_rows
          for each statement execute function platform.log_create({arguments});
        create trigger u after update on {made.table} referencing old table as old_rows new table as new_rows
          for each statement execute function platform.log_update({arguments});
        create trigger d after delete on {made.table} referencing old table as old_rows
          for each statement execute function platform.log_delete({arguments});
        grant usage on schema "{made.schema}" to tenant_reader;
        grant select on {made.table} to tenant_reader;""")


async def use(
    databases: Databases, tenant_id: Ulid, runs: int, at: datetime | None = None, meter: str = "runs"
) -> None:
    """Count `runs` more for a tenant, as the relay would."""
    async with databases.own("control") as conn:
        await conn.execute(
            "insert into control.usage_events (id, tenant_id, meter, quantity, window_start)"
            " values ($1, $2, $3, $4, $5)",
            new(), tenant_id, meter, runs, at or datetime.now(UTC),
        )  # fmt: skip


async def channel(
    databases: Databases,
    tenant_id: Ulid | None,
    kind: str,
    to: str,
    *,
    secret_sealed: str | None = None,
    min_severity: str = "info",
) -> Ulid:
    """Let a tenant hear somewhere."""
    made = new()
    async with databases.own("alarms") as conn:
        await conn.execute(
            'insert into alarms.channels (id, tenant_id, channel, "to", secret_sealed, min_severity)'
            " values ($1, $2, $3, $4, $5, $6)",
            made, tenant_id, kind, to, secret_sealed, min_severity,
        )  # fmt: skip
    return made


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = 20) -> None:
    """Return when `condition` holds; it is asked often, and bounded."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110  (another process's doing has no event here)
            await asyncio.sleep(0.02)


async def rows(databases: Databases, database: str, sql: str, *arguments: Any) -> list[dict[str, Any]]:
    """Return rows as the owner sees them, JSON read."""
    async with databases.own(database) as conn:
        await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        return [dict(row) for row in await conn.fetch(sql, *arguments)]
