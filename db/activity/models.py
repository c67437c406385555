"""The tables of the Activity DB, as its migrations make them."""

from datetime import datetime

from sqlalchemy import Double, Index, Integer, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.ids import Ulid
from db.mapping import JsonObject, Key, annotations, metadata


class Base(DeclarativeBase):
    """The Activity DB's declarative base."""

    metadata = metadata("activity")
    type_annotation_map = annotations("activity")


class ResourceEvent(Base):
    """Something that happened to a tenant's resource, for that tenant to see."""

    __tablename__ = "resource_events"
    __table_args__ = (
        Index("resource_events_time_brin", "occurred_at", postgresql_using="brin"),
        Index("resource_events_tenant_idx", "tenant_id", text("occurred_at desc")),
        Index("resource_events_base_idx", "tenant_id", "base_id", text("occurred_at desc")),
        Index("resource_events_resource_idx", "resource_type", "resource_id"),
        {"postgresql_partition_by": "range (occurred_at)"},
    )

    id: Mapped[Key]
    occurred_at: Mapped[datetime] = mapped_column(primary_key=True)
    tenant_id: Mapped[Ulid]
    workspace_id: Mapped[Ulid | None]
    base_id: Mapped[Ulid | None]
    actor_user_id: Mapped[Ulid | None]
    actor_token_id: Mapped[Ulid | None]
    resource_type: Mapped[str]
    resource_id: Mapped[str]
    action: Mapped[str]
    operation_id: Mapped[Ulid | None]
    version: Mapped[int | None]
    diff_json: Mapped[JsonObject]


class ApiAccessLog(Base):
    """One request, as it was answered."""

    __tablename__ = "api_access_logs"
    __table_args__ = (
        Index("api_access_logs_time_brin", "occurred_at", postgresql_using="brin"),
        Index("api_access_logs_tenant_idx", "tenant_id", text("occurred_at desc")),
        {"postgresql_partition_by": "range (occurred_at)"},
    )

    # Ids, which the processes that make the rows have checked.
    id: Mapped[Ulid] = mapped_column(Text(collation="C"), primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(primary_key=True)
    tenant_id: Mapped[Ulid | None] = mapped_column(Text(collation="C"))
    token_id: Mapped[Ulid | None] = mapped_column(Text(collation="C"))
    base_id: Mapped[Ulid | None] = mapped_column(Text(collation="C"))
    route: Mapped[str]
    method: Mapped[str]
    status: Mapped[int] = mapped_column(Integer)
    latency_ms: Mapped[float] = mapped_column(Double)
    bytes: Mapped[int]
    ip: Mapped[str | None]
    operation_id: Mapped[Ulid | None] = mapped_column(Text(collation="C"))
