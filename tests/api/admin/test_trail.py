"""Every call of every route is on record, refused ones too, and no secret is."""

from typing import Any

import pytest
from fastapi import FastAPI

from api.admin.app import endpoints
from core.audit import AdminAction
from core.ids import new
from tests.api.admin.conftest import Operator, recorded
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows

BODIES: dict[str, Any] = {
    "POST /login": {"email": "nobody@example.com", "password": "hunter2hunter2", "totp": "123456"},
    "POST /tenants/{tenant_id}/suspend": {"reason": "not paid"},
    "POST /wallets/{wallet_id}/adjustments": {"amount_cents": 5, "reason": "goodwill", "ref": "a/1"},
}
NOT_ENDPOINTS = {AdminAction.API_DESCRIPTION_GET, AdminAction.UNKNOWN_ENDPOINT}


def every(app: FastAPI) -> list[tuple[str, str]]:
    found = [(m.upper(), path) for path, methods in app.openapi()["paths"].items() for m in methods]
    # Last what ends the session, and what can be undone before what undoes it.
    return sorted(
        ((m, p) for m, p in found if p != "/healthz"),
        key=lambda route: ("logout" in route[1], "resume" in route[1], route[1]),
    )


def test_every_endpoint_has_its_action_and_every_action_its_endpoint(app: FastAPI) -> None:
    named = {AdminAction(route.name) for route in endpoints()}
    assert named | NOT_ENDPOINTS == set(AdminAction)
    addresses = {(method, route.path) for route in endpoints() for method in route.methods or ()}
    assert addresses == set(every(app))


async def test_every_call_is_on_record(
    databases: Databases, app: FastAPI, newcomer: Operator, world: World
) -> None:
    await newcomer.log_in()
    seen = set()
    for method, path in every(app):
        answer = await newcomer.call(
            method, path.format(**world.ids), json=BODIES.get(f"{method} {path}"), key=new()
        )
        kept = await recorded(databases, answer.headers["x-request-id"])
        where = f"{method} {path} {answer.status_code} {answer.text[:100]}"
        assert kept, where
        intent, *outcome = kept
        seen.add(intent["action"])
        assert intent["details_json"]["phase"] == "intent", where
        assert intent["details_json"]["path"] == path.format(**world.ids)
        assert intent["actor_admin_id"] == newcomer.id
        assert intent["ip"] == "127.0.0.1"
        if "{" in path:
            assert intent["target_id"] in world.ids.values(), where
        if "{tenant_id}" in path:
            assert intent["tenant_id"] == world.tenant
        if path == "/login":
            assert answer.status_code == 401
        else:
            assert answer.status_code < 300, where
        if method != "GET":
            assert [row["details_json"]["phase"] for row in outcome] == ["outcome"], where
            assert outcome[0]["action"] == intent["action"]
            assert outcome[0]["details_json"]["status"] == answer.status_code
        else:
            assert not outcome, where
    assert seen | NOT_ENDPOINTS == set(AdminAction)


async def test_refused_calls_are_on_record_with_their_end(
    databases: Databases, app: FastAPI, operator: Operator, world: World
) -> None:
    stranger = Operator(operator.http, "", "", "", operator.id)
    for method, path in every(app):
        if path == "/login":
            continue
        answer = await stranger.call(method, path.format(**world.ids), content=b"{not json")
        kept = await recorded(databases, answer.headers["x-request-id"])
        assert answer.status_code == 401
        assert [row["details_json"]["phase"] for row in kept] == ["intent", "outcome"]
        assert kept[1]["details_json"] == {"phase": "outcome", "status": 401, "code": "unauthenticated"}
        assert kept[0]["actor_admin_id"] is None
    for method, path, content, status, action in (
        ("GET", "/nothing", None, 404, AdminAction.UNKNOWN_ENDPOINT),
        ("DELETE", "/tenants", None, 405, AdminAction.UNKNOWN_ENDPOINT),
        ("GET", f"/tenants/{new()}", None, 404, AdminAction.TENANT_GET),
        ("GET", "/tenants/%00'--", None, 400, AdminAction.TENANT_GET),
        ("GET", "/tenants?colour=red", None, 400, AdminAction.TENANT_LIST),
        ("POST", f"/tenants/{world.tenant}/suspend", b"{", 400, AdminAction.TENANT_SUSPEND),
        ("POST", f"/tenants/{world.tenant}/suspend", b"x" * 1_100_000, 413, AdminAction.TENANT_SUSPEND),
    ):
        answer = await operator.call(
            method, path, content=content, headers={"Content-Type": "application/json"}
        )
        kept = await recorded(databases, answer.headers["x-request-id"])
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert kept[0]["action"] == action, path
        assert kept[0]["actor_admin_id"] == operator.id
        if status != 413:
            assert kept[1]["details_json"]["status"] == status


async def test_a_replay_is_on_record_as_one(databases: Databases, operator: Operator, world: World) -> None:
    path = f"/tenants/{world.tenant}/suspend"
    first = await operator.call("POST", path, json={"reason": "r"}, key="k1")
    again = await operator.call("POST", path, json={"reason": "r"}, key="k1")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-hit"] == "true"
    kept = await recorded(databases, again.headers["x-request-id"])
    assert kept[1]["details_json"] == {"phase": "outcome", "status": 200, "replayed": True}


async def test_what_was_looked_at_is_on_record_and_what_strayed_is_not(
    databases: Databases, operator: Operator
) -> None:
    answer = await operator.call("GET", "/tenants?status=active&limit=1")
    kept = await recorded(databases, answer.headers["x-request-id"])
    assert kept[0]["details_json"]["parameters"] == {"status": "active", "limit": "1"}
    answer = await operator.call("GET", f"/tenants?token={operator.token}")
    assert answer.status_code == 400
    kept = await recorded(databases, answer.headers["x-request-id"])
    assert kept[0]["details_json"]["parameters"] == {}


async def test_the_audit_is_read_with_filters_and_page_by_page(
    databases: Databases, operator: Operator, world: World
) -> None:
    for _ in range(3):
        await operator.call("GET", f"/tenants/{world.tenant}")
    query = f"tenant_id={world.tenant}&action=TENANT_GET&actor_admin_id={operator.id}&target_type=tenant"
    first = (await operator.call("GET", f"/audit/admin-events?{query}&limit=2")).json()
    rest = (
        await operator.call("GET", f"/audit/admin-events?{query}&limit=2&cursor={first['next_cursor']}")
    ).json()
    events = first["events"] + rest["events"]
    assert len({event["id"] for event in events}) == 3
    assert rest["next_cursor"] is None
    assert [e["occurred_at"] for e in events] == sorted((e["occurred_at"] for e in events), reverse=True)
    one = (await operator.call("GET", f"/audit/admin-events?request_id={events[0]['request_id']}")).json()
    assert [event["id"] for event in one["events"]] == [events[0]["id"]]
    failed = await operator.call("GET", "/audit/security-events?type=ADMIN_LOGIN&limit=1")
    assert failed.json()["events"][0]["type"] == "ADMIN_LOGIN"
    for path, pointer in (
        ("/audit/admin-events?action=TENANT_SUSPENT", "action"),
        ("/audit/admin-events?from=now", "from"),
        ("/audit/security-events?type=X", "type"),
        ("/audit/security-events?cursor=x", "cursor"),
    ):
        wrong = await operator.call("GET", path)
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, pointer)


@pytest.mark.parametrize("table", ["audit.admin_events", "audit.security_events"])
async def test_no_secret_is_in_the_audit_the_outbox_or_the_log(
    databases: Databases,
    newcomer: Operator,
    table: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    begun = await newcomer.log_in()
    await newcomer.log_in(password="hunter2hunter2")
    await newcomer.call("GET", "/me")
    kept = str(await rows(databases, "audit", f"select * from {table}"))
    kept += str(await rows(databases, "control", "select * from control.outbox"))
    kept += caplog.text + "".join(capsys.readouterr())
    for secret in (newcomer.password, newcomer.totp_secret, begun.json()["token"], "hunter2hunter2"):
        assert secret not in kept
