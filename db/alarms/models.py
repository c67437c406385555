"""The tables of the Alarms DB, as its migrations make them."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Index, Integer, Numeric, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.ids import Ulid
from db.mapping import JsonObject, Key, Stamp, annotations, metadata


class Base(DeclarativeBase):
    """The Alarms DB's declarative base."""

    metadata = metadata("alarms")
    type_annotation_map = annotations("alarms")


class QuotaSnapshot(Base):
    """What a tenant's metric stood at in one window, and its limit then."""

    __tablename__ = "quota_snapshots"
    __table_args__ = (
        UniqueConstraint("tenant_id", "metric", "window", "captured_at"),
        Index("quota_snapshots_tenant_idx", "tenant_id", text("captured_at desc")),
    )

    id: Mapped[Key]
    captured_at: Mapped[datetime]
    tenant_id: Mapped[Ulid]
    metric: Mapped[str]
    value: Mapped[Decimal] = mapped_column(Numeric(20, 6))
    limit_value: Mapped[Decimal | None] = mapped_column(Numeric(20, 6))
    window: Mapped[str]
    operation_id: Mapped[Ulid | None]


class Alert(Base):
    """A condition that somebody should know of; one live row per dedupe key."""

    __tablename__ = "alerts"
    __table_args__ = (
        Index(
            "alerts_live_key",
            "tenant_id",
            "dedupe_key",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("status in ('open', 'ack')"),
        ),
        Index("alerts_tenant_status_idx", "tenant_id", "status"),
        Index("alerts_dedupe_idx", "dedupe_key"),
    )

    id: Mapped[Key]
    created_at: Mapped[Stamp]
    tenant_id: Mapped[Ulid | None]
    kind: Mapped[str]
    severity: Mapped[str]
    dedupe_key: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'open'"))
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    times_seen: Mapped[int] = mapped_column(server_default=text("1"))
    acked_by: Mapped[str | None]
    resolved_at: Mapped[datetime | None]
    operation_id: Mapped[Ulid | None]
    context_json: Mapped[JsonObject]
    updated_at: Mapped[Stamp]


class Channel(Base):
    """Where a tenant wants to hear; its secret is sealed."""

    __tablename__ = "channels"
    __table_args__ = (UniqueConstraint("tenant_id", "channel", "to", postgresql_nulls_not_distinct=True),)

    id: Mapped[Key]
    tenant_id: Mapped[Ulid | None]
    channel: Mapped[str]
    to: Mapped[str]
    secret_sealed: Mapped[str | None]
    min_severity: Mapped[str] = mapped_column(server_default=text("'info'"))
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class Notification(Base):
    """One message about an alert to one place, and how its delivery goes."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("alert_id", "channel", "to", "generation"),
        Index("notifications_status_idx", "status", postgresql_where=text("status = 'pending'")),
        Index("notifications_channel_idx", "channel_id"),
        Index("notifications_tenant_idx", "tenant_id", text("created_at desc")),
    )

    id: Mapped[Key]
    created_at: Mapped[Stamp]
    alert_id: Mapped[Ulid] = mapped_column(ForeignKey("alarms.alerts.id"))
    tenant_id: Mapped[Ulid | None]
    channel_id: Mapped[Ulid | None] = mapped_column(ForeignKey("alarms.channels.id"))
    channel: Mapped[str]
    to: Mapped[str]
    generation: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    send_attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    last_attempt_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    error: Mapped[str | None]
    operation_id: Mapped[Ulid | None]


class NotificationAttempt(Base):
    """One attempt at a delivery, for ever."""

    __tablename__ = "notification_attempts"
    __table_args__ = (PrimaryKeyConstraint("notification_id", "attempt"),)

    notification_id: Mapped[Ulid] = mapped_column(ForeignKey("alarms.notifications.id"))
    attempt: Mapped[int] = mapped_column(Integer)
    at: Mapped[Stamp]
    outcome: Mapped[str]
    error: Mapped[str | None]
