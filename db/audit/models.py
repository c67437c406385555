"""The tables of the Admin Audit DB, as its migrations make them."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.ids import Ulid
from db.mapping import JsonObject, Key, annotations, metadata


class Base(DeclarativeBase):
    """The Admin Audit DB's declarative base."""

    metadata = metadata("audit")
    type_annotation_map = annotations("audit")


class AdminEvent(Base):
    """One act of an operator, or the attempt at it."""

    __tablename__ = "admin_events"
    __table_args__ = (
        Index("admin_events_time_brin", "occurred_at", postgresql_using="brin"),
        Index("admin_events_time_idx", text("occurred_at desc")),
        Index("admin_events_tenant_idx", "tenant_id", text("occurred_at desc")),
        Index("admin_events_action_idx", "action", text("occurred_at desc")),
        Index("admin_events_request_idx", "request_id"),
        {"postgresql_partition_by": "range (occurred_at)"},
    )

    id: Mapped[Key]
    occurred_at: Mapped[datetime] = mapped_column(primary_key=True)
    actor_admin_id: Mapped[Ulid | None]
    tenant_id: Mapped[Ulid | None]
    workspace_id: Mapped[Ulid | None]
    ip: Mapped[str | None]
    action: Mapped[str]
    target_type: Mapped[str | None]
    target_id: Mapped[str | None]
    request_id: Mapped[Ulid | None]
    details_json: Mapped[JsonObject]


class SecurityEvent(Base):
    """Something that touches who may enter."""

    __tablename__ = "security_events"
    __table_args__ = (
        Index("security_events_time_brin", "occurred_at", postgresql_using="brin"),
        Index("security_events_time_idx", text("occurred_at desc")),
        Index("security_events_type_idx", "type", text("occurred_at desc")),
        {"postgresql_partition_by": "range (occurred_at)"},
    )

    id: Mapped[Key]
    occurred_at: Mapped[datetime] = mapped_column(primary_key=True)
    subject_user_id: Mapped[Ulid | None]
    ip: Mapped[str | None]
    type: Mapped[str]
    details_json: Mapped[JsonObject]
