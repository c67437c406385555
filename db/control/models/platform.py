"""Schema versions, placements, operations, the outbox and operators."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Identity, Index, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.ids import Ulid
from db.control.models.base import Active, Base, Int, No, TenantId, Xid8, Zero
from db.mapping import JsonObject, Key, Stamp


class SchemaVersion(Base):
    """One version of a base's schema: what it should be and how it came to be so."""

    __tablename__ = "schema_registry"
    __table_args__ = (
        UniqueConstraint("base_id", "version"),
        Index(
            "schema_registry_one_applying_key",
            "base_id",
            unique=True,
            postgresql_where=text("state = 'applying'"),
        ),
        Index("schema_registry_tenant_idx", "tenant_id"),
    )

    id: Mapped[Key]
    tenant_id: Mapped[TenantId]
    base_id: Mapped[Ulid] = mapped_column(ForeignKey("control.bases.id"))
    version: Mapped[int]
    ddl_hash: Mapped[str]
    spec_json: Mapped[dict[str, Any]] = mapped_column(JSONB)
    plan_json: Mapped[Any] = mapped_column(JSONB)
    state: Mapped[str]
    operation_id: Mapped[Ulid] = mapped_column(unique=True)
    created_at: Mapped[Stamp]
    applied_at: Mapped[datetime | None]


class Cluster(Base):
    """A server of Data DBs; its credentials live with the processes."""

    __tablename__ = "clusters"

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    port: Mapped[Int]
    database: Mapped[str]
    region: Mapped[str]
    cls: Mapped[str] = mapped_column("class")
    state: Mapped[Active]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class Placement(Base):
    """Where a tenant's data lives: the DSN map, without secrets."""

    __tablename__ = "placements"
    __table_args__ = (Index("placements_cluster_idx", "cluster_id"), {"schema": "gateway"})

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    cluster_id: Mapped[str] = mapped_column(ForeignKey("control.clusters.id"))
    database: Mapped[str]
    schema: Mapped[str]
    region: Mapped[str]
    state: Mapped[str]
    generation: Mapped[int]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class Operation(Base):
    """One piece of long work: what was asked, how far it is, how it ended."""

    __tablename__ = "operations"
    __table_args__ = (
        Index(
            "operations_one_running_key",
            "kind",
            "subject_id",
            unique=True,
            postgresql_where=text("state = 'running'"),
        ),
        Index("operations_queue_idx", "not_before", "id", postgresql_where=text("state = 'queued'")),
        Index("operations_running_idx", "started_at", postgresql_where=text("state = 'running'")),
        Index("operations_tenant_idx", "tenant_id", text("id desc")),
        Index(
            "operations_base_idx", "base_id", text("id desc"), postgresql_where=text("base_id is not null")
        ),
    )

    id: Mapped[Key]
    kind: Mapped[str]
    tenant_id: Mapped[Ulid | None]
    base_id: Mapped[Ulid | None]
    subject_id: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=text("'queued'"))
    input_json: Mapped[JsonObject]
    result_json: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error_json: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    step: Mapped[str | None]
    percent: Mapped[Int] = mapped_column(server_default=text("0"))
    eta: Mapped[datetime | None]
    cancelable: Mapped[No]
    requested_by: Mapped[str]
    workflow_id: Mapped[str | None]
    run_id: Mapped[str | None]
    not_before: Mapped[Stamp]
    created_at: Mapped[Stamp]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    updated_at: Mapped[Stamp]


class Outbox(Base):
    """An effect in another database, written with its cause and carried by the relay."""

    __tablename__ = "outbox"
    __table_args__ = (PrimaryKeyConstraint("xid", "seq"),)

    xid: Mapped[int] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
    seq: Mapped[int] = mapped_column(Identity(always=True))
    id: Mapped[Ulid] = mapped_column(unique=True)
    destination: Mapped[str]
    occurred_at: Mapped[Stamp]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)


class RelayCursor(Base):
    """How far a reader of the outbox has come."""

    __tablename__ = "relay_cursors"

    name: Mapped[str] = mapped_column(primary_key=True)
    xid: Mapped[int] = mapped_column(Xid8, server_default=text("'0'::xid8"))
    seq: Mapped[Zero]
    updated_at: Mapped[Stamp]


class Idempotency(Base):
    """What a call with an Idempotency-Key was answered."""

    __tablename__ = "idempotency"
    __table_args__ = (PrimaryKeyConstraint("caller", "key"), Index("idempotency_age_idx", "created_at"))

    caller: Mapped[str]
    key: Mapped[str]
    request_hash: Mapped[str]
    status: Mapped[Int]
    headers: Mapped[JsonObject]
    answer: Mapped[Any | None] = mapped_column(JSONB)
    operation_id: Mapped[Ulid]
    created_at: Mapped[Stamp]


class Admin(Base):
    """An operator of the platform."""

    __tablename__ = "admins"
    __table_args__ = (Index("admins_email_key", text("lower(email)"), unique=True),)

    id: Mapped[Key]
    email: Mapped[str]
    name: Mapped[str]
    password_hash: Mapped[str]
    totp_secret_sealed: Mapped[str]
    totp_last_step: Mapped[Zero]
    failed_logins: Mapped[Int] = mapped_column(server_default=text("0"))
    locked_until: Mapped[datetime | None]
    status: Mapped[Active]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class AdminSession(Base):
    """An operator's short-lived session: its token's hash."""

    __tablename__ = "admin_sessions"
    __table_args__ = (Index("admin_sessions_admin_idx", "admin_id"),)

    id: Mapped[Key]
    admin_id: Mapped[Ulid] = mapped_column(ForeignKey("control.admins.id"))
    token_hash: Mapped[str] = mapped_column(unique=True)
    ip: Mapped[str | None]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[Stamp]
