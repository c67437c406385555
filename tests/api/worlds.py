"""A tenant with everything that has an id in it, and a user of every role."""

from dataclasses import dataclass

from core import token
from core.ids import Ulid, new
from tests.conftest import CLUSTER_ID, REGION, Databases
from tests.seeds import PLANS

ROLES = ("owner", "admin", "editor", "viewer")
_IDS = (
    "tenant_id", "wallet_id", "workspace_id", "base_id", "token_id", "operation_id", "alert_id", "channel_id",
    "notification_id",
)  # fmt: skip


@dataclass
class World:
    """One tenant; its ids by the names that paths give them."""

    ids: dict[str, Ulid]
    users: dict[str, Ulid]

    @property
    def tenant(self) -> Ulid:
        """The tenant."""
        return self.ids["tenant_id"]

    @property
    def owner(self) -> Ulid:
        """The user who owns the one workspace."""
        return self.users["owner"]


async def user(databases: Databases, name: str = "U") -> Ulid:
    """Make a person."""
    made = new()
    async with databases.own("control") as conn:
        await conn.execute(_person(made, name))
    return made


async def member(databases: Databases, workspace_id: Ulid, user_id: Ulid, role: str) -> None:
    """Make a person a member."""
    async with databases.own("control") as conn:
        await conn.execute(_membership(workspace_id, user_id, role))


async def make(databases: Databases, *, balance_cents: int = 10_000, status: str = "active") -> World:
    """Make one, in two round trips."""
    world = World({name: new() for name in _IDS}, {role: new() for role in ROLES})
    secret = token.make()
    ids = {**world.ids, "plan": PLANS["free"], "hash": secret.hash, "hint": secret.hint}
    people = "".join(
        _person(made, role) + _membership(world.ids["workspace_id"], made, role)
        for role, made in world.users.items()
    )
    async with databases.own("control") as conn:
        await conn.execute(f"""
            insert into control.tenants (id, slug, name, region, status)
              values ('{world.tenant}', '{world.tenant}', 'T', '{REGION}', '{status}');
            insert into control.subscriptions (id, tenant_id, plan_id, period_start, period_end, status)
              values ('{new()}', '{world.tenant}', '{ids["plan"]}', now(), now() + interval '1 month', 'active');
            insert into control.wallets (id, tenant_id) values ('{ids["wallet_id"]}', '{world.tenant}');
            insert into control.wallet_ledger (id, wallet_id, type, amount_cents, ref, seq, balance_after_cents)
              values ('{new()}', '{ids["wallet_id"]}', 'topup', {balance_cents}, 'opening', 0, 0);
            insert into gateway.placements
              (tenant_id, cluster_id, database, schema, region, state, generation)
              values ('{world.tenant}', '{CLUSTER_ID}', 'data', 'tenant_{world.tenant}', '{REGION}', 'active', 1);
            insert into control.workspaces (id, tenant_id, name)
              values ('{ids["workspace_id"]}', '{world.tenant}', 'Main');
            insert into control.bases (id, tenant_id, workspace_id, name)
              values ('{ids["base_id"]}', '{world.tenant}', '{ids["workspace_id"]}', 'Base');
            insert into control.api_tokens (id, tenant_id, hint, token_hash, scopes)
              values ('{ids["token_id"]}', '{world.tenant}', '{ids["hint"]}', '{ids["hash"]}', '{{records:read}}');
            insert into control.operations
              (id, kind, tenant_id, subject_id, requested_by, cancelable, not_before)
              values ('{ids["operation_id"]}', 'wallet_refill', '{world.tenant}', '{ids["wallet_id"]}', 'service',
                      true, now() + interval '1 year');
            insert into control.usage_counters (id, tenant_id, month, runs_used)
              values ('{new()}', '{world.tenant}', date_trunc('month', now()), 7);
            {people}""")
    async with databases.own("alarms") as conn:
        await conn.execute(f"""
            insert into alarms.alerts
              (id, tenant_id, kind, severity, dedupe_key, first_seen_at, last_seen_at)
              values ('{ids["alert_id"]}', '{world.tenant}', 'RUNS_THRESHOLD', 'warning', 'k', now(), now());
            insert into alarms.channels (id, tenant_id, channel, "to")
              values ('{ids["channel_id"]}', '{world.tenant}', 'inapp', 'all');
            insert into alarms.notifications (id, alert_id, tenant_id, channel_id, channel, "to", status)
              values ('{ids["notification_id"]}', '{ids["alert_id"]}', '{world.tenant}', '{ids["channel_id"]}',
                      'inapp', 'all', 'sent');""")
    return world


def _person(user_id: Ulid, name: str) -> str:
    return f"insert into control.users (id, email, name) values ('{user_id}', '{user_id}@example.com', '{name}');"


def _membership(workspace_id: Ulid, user_id: Ulid, role: str) -> str:
    return (
        "insert into control.memberships (id, workspace_id, user_id, role)"
        f" values ('{new()}', '{workspace_id}', '{user_id}', '{role}');"
    )
