"""Tenants, workspaces, people and their tokens."""

from datetime import datetime

from sqlalchemy import ARRAY, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.ids import Ulid
from db.control.models.base import Active, Base, No, TenantId
from db.mapping import Key, Stamp


class Tenant(Base):
    """A customer: the unit of placement, money and suspension."""

    __tablename__ = "tenants"

    id: Mapped[Key]
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    region: Mapped[str]
    status: Mapped[str]
    status_reason: Mapped[str | None]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class Workspace(Base):
    """A tenant's group of bases, with its own members."""

    __tablename__ = "workspaces"
    __table_args__ = (UniqueConstraint("tenant_id", "id"),)

    id: Mapped[Key]
    tenant_id: Mapped[TenantId]
    name: Mapped[str]
    status: Mapped[Active]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class User(Base):
    """A person, known by e-mail whatever its case."""

    __tablename__ = "users"
    __table_args__ = (Index("users_email_key", text("lower(email)"), unique=True),)

    id: Mapped[Key]
    email: Mapped[str]
    name: Mapped[str]
    status: Mapped[Active]
    mfa_enabled: Mapped[No]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class Membership(Base):
    """A user's one role in a workspace."""

    __tablename__ = "memberships"
    __table_args__ = (
        Index("memberships_workspace_user_key", "workspace_id", "user_id", unique=True),
        Index("memberships_user_idx", "user_id"),
    )

    id: Mapped[Key]
    workspace_id: Mapped[Ulid] = mapped_column(ForeignKey("control.workspaces.id"))
    user_id: Mapped[Ulid] = mapped_column(ForeignKey("control.users.id"))
    role: Mapped[str]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class BaseRow(Base):
    """A base: one schema of tables, in one workspace."""

    __tablename__ = "bases"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "workspace_id"], ["control.workspaces.tenant_id", "control.workspaces.id"]
        ),
        Index("bases_workspace_idx", "workspace_id"),
        Index("bases_tenant_idx", "tenant_id"),
    )

    id: Mapped[Key]
    tenant_id: Mapped[Ulid]
    workspace_id: Mapped[Ulid]
    name: Mapped[str]
    status: Mapped[Active]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class ApiToken(Base):
    """A Data API token: its hash, never itself."""

    __tablename__ = "api_tokens"
    __table_args__ = (
        Index("api_tokens_tenant_idx", "tenant_id"),
        Index("api_tokens_workspace_idx", "workspace_id"),
        Index("api_tokens_base_idx", "base_id"),
        Index("api_tokens_user_idx", "created_by_user"),
        Index("api_tokens_hash_key", "token_hash", unique=True),
    )

    id: Mapped[Key]
    tenant_id: Mapped[TenantId]
    workspace_id: Mapped[Ulid | None] = mapped_column(ForeignKey("control.workspaces.id"))
    base_id: Mapped[Ulid | None] = mapped_column(ForeignKey("control.bases.id"))
    name: Mapped[str] = mapped_column(server_default=text("''"))
    hint: Mapped[str]
    token_hash: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by_user: Mapped[Ulid | None] = mapped_column(ForeignKey("control.users.id"))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[Stamp]
    revoked_at: Mapped[datetime | None]
