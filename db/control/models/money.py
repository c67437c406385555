"""Plans, usage, wallets and limits."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Date, ForeignKey, Index, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.ids import Ulid
from db.control.models.base import Base, Int, No, TenantId, WalletId, Xid8, Zero
from db.mapping import JsonObject, Key, Stamp


class Plan(Base):
    """What can be bought."""

    __tablename__ = "plans"

    id: Mapped[Key]
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    tier: Mapped[Int]
    monthly_runs: Mapped[int]
    record_cap: Mapped[int]
    storage_cap_gb: Mapped[Decimal] = mapped_column(Numeric(12, 3))
    features_json: Mapped[JsonObject]
    price_cents: Mapped[int]
    run_price_cents_per_1000: Mapped[Zero]
    created_at: Mapped[Stamp]


class Subscription(Base):
    """What a tenant has bought; at most one that is not canceled."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        Index(
            "subscriptions_tenant_active_key",
            "tenant_id",
            unique=True,
            postgresql_where=text("status <> 'canceled'"),
        ),
        Index("subscriptions_plan_idx", "plan_id"),
        Index("subscriptions_tenant_idx", "tenant_id"),
    )

    id: Mapped[Key]
    tenant_id: Mapped[TenantId]
    plan_id: Mapped[Ulid] = mapped_column(ForeignKey("control.plans.id"))
    seats: Mapped[Int] = mapped_column(server_default=text("1"))
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    status: Mapped[str]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class UsageEvent(Base):
    """A counted window of use; a repeated id counts once."""

    __tablename__ = "usage_events"
    __table_args__ = (
        UniqueConstraint("tenant_id", "meter", "id"),
        Index("usage_events_window_idx", "window_start", "tenant_id"),
        Index("usage_events_xid_idx", "xid"),
    )

    id: Mapped[Key]
    tenant_id: Mapped[Ulid]
    meter: Mapped[str]
    quantity: Mapped[int]
    window_start: Mapped[datetime]
    operation_id: Mapped[Ulid | None]
    created_at: Mapped[Stamp]
    xid: Mapped[int] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))


class UsageCounter(Base):
    """What a tenant has used in one month."""

    __tablename__ = "usage_counters"
    __table_args__ = (Index("usage_counters_tenant_month_key", "tenant_id", "month", unique=True),)

    id: Mapped[Key]
    tenant_id: Mapped[TenantId]
    month: Mapped[date] = mapped_column(Date)
    runs_used: Mapped[Zero]
    storage_gb_used: Mapped[Decimal] = mapped_column(Numeric(14, 6), server_default=text("0"))
    api_calls: Mapped[Zero]
    records_count: Mapped[Zero]
    runs_billed: Mapped[Zero]
    updated_at: Mapped[Stamp]


class Wallet(Base):
    """A tenant's money; only the ledger's trigger moves the balance."""

    __tablename__ = "wallets"

    id: Mapped[Key]
    tenant_id: Mapped[TenantId] = mapped_column(unique=True)
    balance_cents: Mapped[Zero]
    expires_at: Mapped[datetime | None]
    auto_refill_enabled: Mapped[No]
    refill_threshold_cents: Mapped[Zero]
    refill_amount_cents: Mapped[Zero]
    payment_customer: Mapped[str | None]
    ledger_seq: Mapped[Zero]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class WalletLedger(Base):
    """One movement of money, for ever; a repeated ref moves nothing."""

    __tablename__ = "wallet_ledger"
    __table_args__ = (UniqueConstraint("wallet_id", "ref"), UniqueConstraint("wallet_id", "seq"))

    id: Mapped[Key]
    wallet_id: Mapped[WalletId]
    seq: Mapped[int]
    type: Mapped[str]
    amount_cents: Mapped[int]
    runs_delta: Mapped[Zero]
    balance_after_cents: Mapped[int]
    ref: Mapped[str]
    operation_id: Mapped[Ulid | None]
    created_at: Mapped[Stamp]


class Refill(Base):
    """Money asked of the payment provider, and its answer."""

    __tablename__ = "refills"
    __table_args__ = (Index("refills_wallet_idx", "wallet_id", "created_at"),)

    id: Mapped[Key]
    wallet_id: Mapped[WalletId]
    amount_cents: Mapped[int]
    state: Mapped[str]
    provider_ref: Mapped[str | None]
    reason: Mapped[str | None]
    operation_id: Mapped[Ulid | None]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class RateLimit(Base):
    """How many calls and runs a tenant may make in one kind of window."""

    __tablename__ = "rate_limits"
    __table_args__ = (UniqueConstraint("tenant_id", "window"),)

    id: Mapped[Key]
    tenant_id: Mapped[TenantId]
    window: Mapped[str]
    api_limit: Mapped[int | None]
    runs_limit: Mapped[int | None]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]
