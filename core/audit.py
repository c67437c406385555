"""What operators can do, by the names under which the audit keeps it."""

from collections.abc import Mapping
from enum import StrEnum


class AdminAction(StrEnum):
    """One name per endpoint of the Admin API, and one for what is no endpoint."""

    ADMIN_LOGIN = "ADMIN_LOGIN"
    ADMIN_LOGOUT = "ADMIN_LOGOUT"
    ADMIN_WHO_AM_I = "ADMIN_WHO_AM_I"
    PLATFORM_OVERVIEW = "PLATFORM_OVERVIEW"
    CLUSTER_LIST = "CLUSTER_LIST"
    TENANT_LIST = "TENANT_LIST"
    TENANT_GET = "TENANT_GET"
    TENANT_SUSPEND = "TENANT_SUSPEND"
    TENANT_RESUME = "TENANT_RESUME"
    WALLET_ADJUST = "WALLET_ADJUST"
    OPERATION_LIST = "OPERATION_LIST"
    OPERATION_GET = "OPERATION_GET"
    AUDIT_READ_ADMIN_EVENTS = "AUDIT_READ_ADMIN_EVENTS"
    AUDIT_READ_SECURITY_EVENTS = "AUDIT_READ_SECURITY_EVENTS"
    API_DESCRIPTION_GET = "API_DESCRIPTION_GET"
    UNKNOWN_ENDPOINT = "UNKNOWN_ENDPOINT"


class SecurityEvent(StrEnum):
    """What touches who may enter."""

    ADMIN_LOGIN = "ADMIN_LOGIN"
    FAILED_LOGIN = "FAILED_LOGIN"
    MFA_BYPASS_ATTEMPT = "MFA_BYPASS_ATTEMPT"


class Phase(StrEnum):
    """When an event was written: before the act, or with its end."""

    INTENT = "intent"
    OUTCOME = "outcome"


MAX_TEXT = 200
_NUL = "\x00"


def text(value: object) -> str:
    """Return `value` as the audit can hold it: bounded, and without what PostgreSQL's text refuses."""
    clean = str(value).replace(_NUL, "�").encode("utf-8", "replace").decode()
    return clean[:MAX_TEXT]


def target(path_params: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Return the type and id of what a call is about: the first id in its path, as it was sent."""
    for name, value in path_params.items():
        if name.endswith("_id"):
            return name.removesuffix("_id"), text(value)
    return None, None
