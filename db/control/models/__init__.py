"""The tables of the Control DB, as its migrations make them."""

from db.control.models.base import Base, Xid8
from db.control.models.money import (
    Plan,
    RateLimit,
    Refill,
    Subscription,
    UsageCounter,
    UsageEvent,
    Wallet,
    WalletLedger,
)
from db.control.models.platform import (
    Admin,
    AdminSession,
    Cluster,
    Idempotency,
    Operation,
    Outbox,
    Placement,
    RelayCursor,
    SchemaVersion,
)
from db.control.models.tenancy import ApiToken, BaseRow, Membership, Tenant, User, Workspace

__all__ = [
    "Admin",
    "AdminSession",
    "ApiToken",
    "Base",
    "BaseRow",
    "Cluster",
    "Idempotency",
    "Membership",
    "Operation",
    "Outbox",
    "Placement",
    "Plan",
    "RateLimit",
    "Refill",
    "RelayCursor",
    "SchemaVersion",
    "Subscription",
    "Tenant",
    "UsageCounter",
    "UsageEvent",
    "User",
    "Wallet",
    "WalletLedger",
    "Workspace",
    "Xid8",
]
