"""The table of who may do what, line by line."""

import pytest

from core import access
from core.access import LEAST_ROLE, Action, Role
from core.errors import Conflict, Forbidden

VIEWER = {
    "tenant.read", "workspace.read", "member.read", "base.read", "schema.read", "token.read",
    "subscription.read", "usage.read", "wallet.read", "alert.read", "notification.read", "activity.read",
    "operation.read",
}  # fmt: skip
ADMIN = {
    "workspace.rename", "member.manage", "base.create", "base.update", "schema.plan", "schema.apply",
    "token.create", "token.revoke", "alert.handle", "channel.read", "channel.manage", "access_log.read",
    "operation.cancel",
}  # fmt: skip
OWNER = {
    "tenant.rename", "workspace.create", "workspace.archive", "member.manage_owners", "subscription.change",
    "wallet.top_up", "wallet.settings",
}  # fmt: skip


def test_every_action_has_its_line() -> None:
    assert set(LEAST_ROLE) == set(Action)
    assert {action.value for action in Action} == VIEWER | ADMIN | OWNER


@pytest.mark.parametrize("action", Action)
def test_who_may(action: Action) -> None:
    least = {**dict.fromkeys(VIEWER, Role.VIEWER), **dict.fromkeys(ADMIN, Role.ADMIN)}.get(
        action.value, Role.OWNER
    )
    for role in Role:
        if role >= least:
            access.check(role, action)
        else:
            with pytest.raises(Forbidden):
                access.check(role, action)
    access.check(None, action)


def test_an_editor_may_no_more_here_than_a_viewer() -> None:
    assert Role.EDITOR not in LEAST_ROLE.values()


@pytest.mark.parametrize(
    ("old", "new", "action"),
    [
        (None, Role.ADMIN, Action.MEMBER_MANAGE),
        (Role.EDITOR, Role.ADMIN, Action.MEMBER_MANAGE),
        (Role.ADMIN, None, Action.MEMBER_MANAGE),
        (None, Role.OWNER, Action.MEMBER_MANAGE_OWNERS),
        (Role.OWNER, Role.VIEWER, Action.MEMBER_MANAGE_OWNERS),
        (Role.OWNER, None, Action.MEMBER_MANAGE_OWNERS),
        (Role.VIEWER, Role.OWNER, Action.MEMBER_MANAGE_OWNERS),
    ],
)
def test_owners_are_made_and_unmade_by_owners(old: Role | None, new: Role | None, action: Action) -> None:
    assert access.member_change(old, new) is action


@pytest.mark.parametrize("status", ["provisioning", "suspended", "failed", "deleted"])
def test_a_tenant_that_is_not_active_may_look_and_pay_but_not_build(status: str) -> None:
    for action in (Action.TENANT_READ, Action.WALLET_TOP_UP, Action.TOKEN_REVOKE):
        access.check_tenant(status, action)
    for action in (Action.BASE_CREATE, Action.SCHEMA_APPLY, Action.TOKEN_CREATE, Action.TENANT_RENAME):
        with pytest.raises(Conflict):
            access.check_tenant(status, action)
        access.check_tenant("active", action)


def test_names_go_both_ways() -> None:
    for role in Role:
        assert Role.of(role.label) is role
    assert access.role_of_scopes(frozenset({"records:read"})) is Role.VIEWER
    assert access.role_of_scopes(frozenset({"records:read", "records:write"})) is Role.EDITOR
