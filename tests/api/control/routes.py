"""Every route of the Control API, from its own description, with a body that it accepts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core import access
from core.access import Action, Role
from core.ids import new

SPEC = {"tables": [{"name": "Tasks", "fields": [{"name": "Title", "type": "text"}]}]}


@dataclass(frozen=True)
class Route:
    """One method at one address."""

    method: str
    path: str

    @property
    def params(self) -> list[str]:
        """The ids in its path."""
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def every(openapi: dict[str, Any]) -> Iterator[Route]:
    """All routes but the one that is for probes."""
    for path, methods in openapi["paths"].items():
        for method in methods:
            if path != "/healthz":
                yield Route(method.upper(), path)


def body(route: Route) -> Any:
    """A body that is accepted; fresh where it must be unique. None where there is none."""
    made = BODIES.get(str(route))
    return made() if callable(made) else made


BODIES: dict[str, Any] = {
    "POST /tenants": lambda: {"slug": f"t-{new()}", "name": "Tenant"},
    "PATCH /tenants/{tenant_id}": {"name": "Renamed"},
    "POST /tenants/{tenant_id}/workspaces": {"name": "Workspace"},
    "PATCH /workspaces/{workspace_id}": {"name": "Renamed"},
    "POST /workspaces/{workspace_id}/members": lambda: {"user_id": new(), "role": "viewer"},
    "PATCH /workspaces/{workspace_id}/members/{user_id}": {"role": "viewer"},
    "POST /users": lambda: {"email": f"{new()}@example.com", "name": "User"},
    "PATCH /users/{user_id}": {"name": "Renamed"},
    "POST /workspaces/{workspace_id}/bases": {"name": "Base"},
    "PATCH /bases/{base_id}": {"name": "Renamed"},
    "PUT /bases/{base_id}/schema": {"spec": SPEC},
    "POST /tenants/{tenant_id}/tokens": {"scopes": ["records:read"]},
    "PATCH /tenants/{tenant_id}/subscription": {"plan_code": "team"},
    "POST /wallets/{wallet_id}/topups": {"amount_cents": 500},
    "PATCH /wallets/{wallet_id}": {"refill_threshold_cents": 100},
    "POST /tenants/{tenant_id}/channels": lambda: {"channel": "inapp", "to": f"u-{new()}"},
}

# What each route does, as the table of roles names it. None: the portal itself; ANYBODY: every user.
ANYBODY = "anybody"
ACTIONS: dict[str, Action | str | None] = {
    "POST /tenants": ANYBODY,
    "GET /tenants": ANYBODY,
    "GET /tenants/{tenant_id}": Action.TENANT_READ,
    "PATCH /tenants/{tenant_id}": Action.TENANT_RENAME,
    "POST /tenants/{tenant_id}/provision": None,
    "POST /tenants/{tenant_id}/workspaces": Action.WORKSPACE_CREATE,
    "GET /tenants/{tenant_id}/workspaces": Action.WORKSPACE_READ,
    "GET /workspaces/{workspace_id}": Action.WORKSPACE_READ,
    "PATCH /workspaces/{workspace_id}": Action.WORKSPACE_RENAME,
    "GET /workspaces/{workspace_id}/members": Action.MEMBER_READ,
    "POST /workspaces/{workspace_id}/members": Action.MEMBER_MANAGE,
    "PATCH /workspaces/{workspace_id}/members/{user_id}": Action.MEMBER_MANAGE,
    "DELETE /workspaces/{workspace_id}/members/{user_id}": Action.MEMBER_MANAGE,
    "POST /users": None,
    "GET /users": None,
    "GET /users/{user_id}": Action.MEMBER_READ,
    "PATCH /users/{user_id}": ANYBODY,
    "POST /workspaces/{workspace_id}/bases": Action.BASE_CREATE,
    "GET /workspaces/{workspace_id}/bases": Action.BASE_READ,
    "GET /bases/{base_id}": Action.BASE_READ,
    "PATCH /bases/{base_id}": Action.BASE_UPDATE,
    "GET /bases/{base_id}/schema": Action.SCHEMA_READ,
    "PUT /bases/{base_id}/schema": Action.SCHEMA_APPLY,
    "GET /bases/{base_id}/schema/versions": Action.SCHEMA_READ,
    "GET /bases/{base_id}/schema/versions/{version}": Action.SCHEMA_READ,
    "POST /tenants/{tenant_id}/tokens": Action.TOKEN_CREATE,
    "GET /tenants/{tenant_id}/tokens": Action.TOKEN_READ,
    "GET /tokens/{token_id}": Action.TOKEN_READ,
    "DELETE /tokens/{token_id}": Action.TOKEN_REVOKE,
    "GET /plans": ANYBODY,
    "GET /tenants/{tenant_id}/subscription": Action.SUBSCRIPTION_READ,
    "PATCH /tenants/{tenant_id}/subscription": Action.SUBSCRIPTION_CHANGE,
    "GET /tenants/{tenant_id}/usage": Action.USAGE_READ,
    "GET /tenants/{tenant_id}/usage/current": Action.USAGE_READ,
    "GET /tenants/{tenant_id}/rate-limits": Action.USAGE_READ,
    "GET /wallets/{wallet_id}": Action.WALLET_READ,
    "GET /tenants/{tenant_id}/wallet": Action.WALLET_READ,
    "GET /wallets/{wallet_id}/ledger": Action.WALLET_READ,
    "POST /wallets/{wallet_id}/topups": Action.WALLET_TOP_UP,
    "PATCH /wallets/{wallet_id}": Action.WALLET_SETTINGS,
    "GET /tenants/{tenant_id}/alerts": Action.ALERT_READ,
    "GET /alerts/{alert_id}": Action.ALERT_READ,
    "POST /alerts/{alert_id}/ack": Action.ALERT_HANDLE,
    "POST /alerts/{alert_id}/resolve": Action.ALERT_HANDLE,
    "POST /tenants/{tenant_id}/channels": Action.CHANNEL_MANAGE,
    "GET /tenants/{tenant_id}/channels": Action.CHANNEL_READ,
    "DELETE /channels/{channel_id}": Action.CHANNEL_MANAGE,
    "GET /tenants/{tenant_id}/notifications": Action.NOTIFICATION_READ,
    "POST /notifications/{notification_id}/read": Action.NOTIFICATION_READ,
    "GET /tenants/{tenant_id}/activity": Action.ACTIVITY_READ,
    "GET /tenants/{tenant_id}/access-logs": Action.ACCESS_LOG_READ,
    "GET /operations/{operation_id}": Action.OPERATION_READ,
    "GET /tenants/{tenant_id}/operations": Action.OPERATION_READ,
    # The one of the tests is a refill, which is the owner's.
    "POST /operations/{operation_id}/cancel": Action.WALLET_TOP_UP,
}


def may(route: Route, role: Role) -> bool:
    """Whether a member with this role may."""
    action = ACTIONS[str(route)]
    if action is None or action == ANYBODY:
        return action == ANYBODY
    return access.allows(role, Action(action))
