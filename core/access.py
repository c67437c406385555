"""Who may do what in the Control API: one table from action to least role."""

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from core.errors import Conflict, Forbidden


class Role(IntEnum):
    """A member's role; each may do all that those before it may."""

    VIEWER = 1
    EDITOR = 2
    ADMIN = 3
    OWNER = 4

    @classmethod
    def of(cls, name: str) -> "Role":
        """Return the role that the databases and the API call `name`."""
        return cls[name.upper()]

    @property
    def label(self) -> str:
        """Return the role's name in the databases and the API."""
        return self.name.lower()


class Action(StrEnum):
    """What a call does, as the table below and the refusals name it."""

    TENANT_READ = "tenant.read"
    TENANT_RENAME = "tenant.rename"
    WORKSPACE_READ = "workspace.read"
    WORKSPACE_CREATE = "workspace.create"
    WORKSPACE_RENAME = "workspace.rename"
    WORKSPACE_ARCHIVE = "workspace.archive"
    MEMBER_READ = "member.read"
    MEMBER_MANAGE = "member.manage"
    MEMBER_MANAGE_OWNERS = "member.manage_owners"
    BASE_READ = "base.read"
    BASE_CREATE = "base.create"
    BASE_UPDATE = "base.update"
    SCHEMA_READ = "schema.read"
    SCHEMA_PLAN = "schema.plan"
    SCHEMA_APPLY = "schema.apply"
    TOKEN_READ = "token.read"  # noqa: S105
    TOKEN_CREATE = "token.create"  # noqa: S105
    TOKEN_REVOKE = "token.revoke"  # noqa: S105
    SUBSCRIPTION_READ = "subscription.read"
    SUBSCRIPTION_CHANGE = "subscription.change"
    USAGE_READ = "usage.read"
    WALLET_READ = "wallet.read"
    WALLET_TOP_UP = "wallet.top_up"
    WALLET_SETTINGS = "wallet.settings"
    ALERT_READ = "alert.read"
    ALERT_HANDLE = "alert.handle"
    CHANNEL_READ = "channel.read"
    CHANNEL_MANAGE = "channel.manage"
    NOTIFICATION_READ = "notification.read"
    ACTIVITY_READ = "activity.read"
    ACCESS_LOG_READ = "access_log.read"
    OPERATION_READ = "operation.read"
    OPERATION_CANCEL = "operation.cancel"


# Channels and access logs are above a viewer: a hook's address is a secret, and an address is a person's.
LEAST_ROLE: Mapping[Action, Role] = {
    Action.TENANT_READ: Role.VIEWER,
    Action.TENANT_RENAME: Role.OWNER,
    Action.WORKSPACE_READ: Role.VIEWER,
    Action.WORKSPACE_CREATE: Role.OWNER,
    Action.WORKSPACE_RENAME: Role.ADMIN,
    Action.WORKSPACE_ARCHIVE: Role.OWNER,
    Action.MEMBER_READ: Role.VIEWER,
    Action.MEMBER_MANAGE: Role.ADMIN,
    Action.MEMBER_MANAGE_OWNERS: Role.OWNER,
    Action.BASE_READ: Role.VIEWER,
    Action.BASE_CREATE: Role.ADMIN,
    Action.BASE_UPDATE: Role.ADMIN,
    Action.SCHEMA_READ: Role.VIEWER,
    Action.SCHEMA_PLAN: Role.ADMIN,
    Action.SCHEMA_APPLY: Role.ADMIN,
    Action.TOKEN_READ: Role.VIEWER,
    Action.TOKEN_CREATE: Role.ADMIN,
    Action.TOKEN_REVOKE: Role.ADMIN,
    Action.SUBSCRIPTION_READ: Role.VIEWER,
    Action.SUBSCRIPTION_CHANGE: Role.OWNER,
    Action.USAGE_READ: Role.VIEWER,
    Action.WALLET_READ: Role.VIEWER,
    Action.WALLET_TOP_UP: Role.OWNER,
    Action.WALLET_SETTINGS: Role.OWNER,
    Action.ALERT_READ: Role.VIEWER,
    Action.ALERT_HANDLE: Role.ADMIN,
    Action.CHANNEL_READ: Role.ADMIN,
    Action.CHANNEL_MANAGE: Role.ADMIN,
    Action.NOTIFICATION_READ: Role.VIEWER,
    Action.ACTIVITY_READ: Role.VIEWER,
    Action.ACCESS_LOG_READ: Role.ADMIN,
    Action.OPERATION_READ: Role.VIEWER,
    Action.OPERATION_CANCEL: Role.ADMIN,
}

# What goes on while a tenant is suspended: looking, and paying.
_ALWAYS = frozenset(
    {
        Action.SCHEMA_PLAN,
        Action.SUBSCRIPTION_CHANGE,
        Action.WALLET_TOP_UP,
        Action.WALLET_SETTINGS,
        Action.ALERT_HANDLE,
        Action.OPERATION_CANCEL,
        Action.TOKEN_REVOKE,
        Action.MEMBER_MANAGE,
        Action.MEMBER_MANAGE_OWNERS,
    }
)


def allows(role: Role, action: Action) -> bool:
    """Tell whether a member with `role` may do `action`."""
    return role >= LEAST_ROLE[action]


def check(role: Role | None, action: Action) -> None:
    """Raise Forbidden unless `role` may do `action`; None is the portal acting for itself: it may do all."""
    if role is not None and not allows(role, action):
        raise Forbidden(f"{action} needs the role {LEAST_ROLE[action].label}, and this user is {role.label}")


def check_tenant(status: str, action: Action) -> None:
    """Raise Conflict where `action` changes something and the tenant is not active."""
    if status != "active" and not action.endswith(".read") and action not in _ALWAYS:
        raise Conflict(f"the tenant is {status}", code="tenant_not_active")


def member_change(old: Role | None, new: Role | None) -> Action:
    """Return which action it is to turn a member's role from `old` into `new`; None is no member."""
    return Action.MEMBER_MANAGE_OWNERS if Role.OWNER in (old, new) else Action.MEMBER_MANAGE


def role_of_scopes(scopes: frozenset[str]) -> Role:
    """Return the role that a token with `scopes` acts with, at most."""
    return Role.EDITOR if "records:write" in scopes else Role.VIEWER
