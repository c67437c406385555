"""What cannot be meant: a clear 4xx with a pointer, nothing half-written, and one line in the log."""

import json
import logging
from typing import Any

import pytest
from fastapi import FastAPI

from tests.api.control import routes
from tests.api.control.conftest import Portal
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows

LONG = "x" * 201
NUL = "a\x00b"


async def state(databases: Databases) -> str:
    counted = []
    for table in (
        "tenants",
        "workspaces",
        "users",
        "memberships",
        "bases",
        "api_tokens",
        "operations",
        "outbox",
    ):
        counted += await rows(databases, "control", f"select count(*) as n from control.{table}")
    counted += await rows(databases, "alarms", "select count(*) as n from alarms.channels")
    return str(counted)


BODIES: list[tuple[str, Any, str]] = [
    ("POST /tenants", {}, "/slug"),
    ("POST /tenants", {"slug": "Not A Slug", "name": "N"}, "/slug"),
    ("POST /tenants", {"slug": "a" * 64, "name": "N"}, "/slug"),
    ("POST /tenants", {"slug": "a-b", "name": ""}, "/name"),
    ("POST /tenants", {"slug": "a-b", "name": LONG}, "/name"),
    ("POST /tenants", {"slug": "a-b", "name": NUL}, "/name"),
    ("POST /tenants", {"slug": "a-b", "name": "N", "region": "mars"}, "/region"),
    ("POST /tenants", {"slug": "a-b", "name": "N", "plan_code": "fre"}, "/plan_code"),
    ("POST /tenants", {"slug": "a-b", "name": "N", "owner": {"email": "no", "name": "N"}}, "/owner/email"),
    ("POST /tenants", {"slug": "a-b", "name": "N", "regoin": "local"}, "/regoin"),
    ("PATCH /tenants/{tenant_id}", {"name": None}, "/name"),
    ("PATCH /tenants/{tenant_id}", {"name": "   "}, "/name"),
    ("PATCH /tenants/{tenant_id}", {"name": "N", "status": "suspended"}, "/status"),
    ("POST /users", {"email": "a@b", "name": 7}, "/name"),
    ("POST /users", {"email": "a b@c.d", "name": "N"}, "/email"),
    ("POST /users", {"email": "@c.d", "name": "N"}, "/email"),
    ("POST /users", {"email": "a@" + "b" * 260, "name": "N"}, "/email"),
    ("PATCH /users/{user_id}", {}, ""),
    ("PATCH /users/{user_id}", {"mfa_enabled": "yes"}, "/mfa_enabled"),
    ("POST /workspaces/{workspace_id}/members", {"user_id": "X", "role": "viewer"}, "/user_id"),
    ("POST /workspaces/{workspace_id}/members", {"user_id": "A" * 26, "role": "viewer"}, "/user_id"),
    ("PATCH /workspaces/{workspace_id}/members/{user_id}", {"role": "god"}, "/role"),
    ("POST /workspaces/{workspace_id}/bases", {"name": "a\nb"}, "/name"),
    ("PATCH /bases/{base_id}", {"status": "gone"}, "/status"),
    ("PUT /bases/{base_id}/schema", {"spec": []}, "/spec"),
    ("PUT /bases/{base_id}/schema", {"spec": {"tabels": []}}, "/spec/tabels"),
    (
        "PUT /bases/{base_id}/schema",
        {"spec": {"tables": [{"name": "T", "fields": [{"name": "F", "type": "txt"}]}]}},
        "/spec/tables/0/fields/0/type",
    ),
    ("PUT /bases/{base_id}/schema", {"spec": {}, "dry_run": 1}, "/dry_run"),
    ("PUT /bases/{base_id}/schema", {"spec": {}, "parent_version": -1}, "/parent_version"),
    ("PUT /bases/{base_id}/schema", {"spec": {}, "confirm": ["x"] * 1001}, "/confirm"),
    ("POST /tenants/{tenant_id}/tokens", {"scopes": []}, "/scopes"),
    ("POST /tenants/{tenant_id}/tokens", {"scopes": ["records:delete"]}, "/scopes/0"),
    ("POST /tenants/{tenant_id}/tokens", {"scopes": ["records:read", "records:read"]}, ""),
    (
        "POST /tenants/{tenant_id}/tokens",
        {"scopes": ["records:read"], "expires_at": "2001-01-01T00:00:00Z"},
        "/expires_at",
    ),
    (
        "POST /tenants/{tenant_id}/tokens",
        {"scopes": ["records:read"], "expires_at": "2101-01-01T00:00:00"},
        "/expires_at",
    ),
    ("PATCH /tenants/{tenant_id}/subscription", {"plan_code": "teem"}, "/plan_code"),
    ("PATCH /tenants/{tenant_id}/subscription", {"seats": 0}, "/seats"),
    ("PATCH /tenants/{tenant_id}/subscription", {"seats": "3"}, "/seats"),
    ("POST /wallets/{wallet_id}/topups", {"amount_cents": 0}, "/amount_cents"),
    ("POST /wallets/{wallet_id}/topups", {"amount_cents": -5}, "/amount_cents"),
    ("POST /wallets/{wallet_id}/topups", {"amount_cents": 1.5}, "/amount_cents"),
    ("POST /wallets/{wallet_id}/topups", {"amount_cents": True}, "/amount_cents"),
    ("POST /wallets/{wallet_id}/topups", {"amount_cents": 10**30}, "/amount_cents"),
    ("PATCH /wallets/{wallet_id}", {"balance_cents": 10**6}, "/balance_cents"),
    ("PATCH /wallets/{wallet_id}", {"auto_refill_enabled": True}, "/refill_amount_cents"),
    ("POST /tenants/{tenant_id}/channels", {"channel": "fax", "to": "1"}, "/channel"),
    ("POST /tenants/{tenant_id}/channels", {"channel": "email", "to": "nobody"}, "/to"),
    ("POST /tenants/{tenant_id}/channels", {"channel": "webhook", "to": "http://example.com"}, "/to"),
    ("POST /tenants/{tenant_id}/channels", {"channel": "webhook", "to": "https://u:p@example.com"}, "/to"),
    ("POST /tenants/{tenant_id}/channels", {"channel": "slack", "to": "javascript:alert(1)"}, "/to"),
    ("POST /tenants/{tenant_id}/channels", {"channel": "inapp", "to": "a b"}, "/to"),
]


@pytest.mark.parametrize(("route", "body", "pointer"), BODIES)
async def test_a_body_that_cannot_be_meant(
    databases: Databases, portal: Portal, world: World, route: str, body: Any, pointer: str
) -> None:
    before = await state(databases)
    method, path = route.split(" ")
    path = path.format(**world.ids, user_id=world.users["viewer"])
    answer = await portal.call(method, path, json=body)
    problem = answer.json()
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert pointer in [error["pointer"] for error in problem["errors"]], problem["errors"]
    assert await state(databases) == before


async def test_a_near_name_is_named(portal: Portal, world: World) -> None:
    bad = {"slug": "a-b", "name": "N", "regoin": "local"}
    unknown = (await portal.call("POST", "/tenants", json=bad)).json()
    assert "'region'" in unknown["errors"][0]["detail"]
    plan = {"plan_code": "teem"}
    answer = await portal.call("PATCH", f"/tenants/{world.tenant}/subscription", json=plan)
    assert "'team'" in answer.json()["detail"]
    answer = await portal.call("GET", f"/tenants/{world.tenant}/activity?resource_typ=base")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "resource_typ")
    assert "'resource_type'" in answer.json()["detail"]


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"nonsense", b"\xff\xfe", b"[]", b"null", b'"x"', b"7", b"[" * 5_000, b'{"name": NaN}',
        b'{"name": "\\ud800"}', b'{"name":"a"}{"name":"b"}',
    ],
)  # fmt: skip
async def test_a_body_that_cannot_be_read(
    databases: Databases, app: FastAPI, portal: Portal, world: World, raw: bytes
) -> None:
    before = await state(databases)
    for route in routes.every(app.openapi()):
        if str(route) not in routes.BODIES:
            continue
        path = route.path.format(**world.ids, user_id=world.users["viewer"])
        answer = await portal.call(
            route.method, path, content=raw, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422), f"{route}: {answer.status_code} {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"], str(route)
    assert await state(databases) == before


REPEATED: list[tuple[str, bytes, str]] = [
    ("PATCH /tenants/{tenant_id}", b'{"name":"a","name":"b"}', "/name"),
    ("PATCH /tenants/{tenant_id}", b'{"name":"a","n\\u0061me":"a"}', "/name"),
    (
        "POST /tenants",
        b'{"slug":"a-b","name":"N","owner":{"email":"a@b","name":"N","email":"c@d"}}',
        "/owner/email",
    ),
    ("PUT /bases/{base_id}/schema", b'{"spec":{"tables":[]},"spec":{"tables":[]}}', "/spec"),
    (
        "PUT /bases/{base_id}/schema",
        b'{"spec":{"tables":[{"name":"T","fields":[{"name":"F","type":"text","type":"number"}]}]}}',
        "/spec/tables/0/fields/0/type",
    ),
    ("POST /wallets/{wallet_id}/topups", b'{"amount_cents":5,"amount_cents":500}', "/amount_cents"),
]


@pytest.mark.parametrize(("route", "raw", "pointer"), REPEATED)
async def test_a_key_that_stands_twice(
    databases: Databases, portal: Portal, world: World, route: str, raw: bytes, pointer: str
) -> None:
    before = await state(databases)
    method, path = route.split(" ")
    answer = await portal.call(
        method, path.format(**world.ids), content=raw, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == (pointer, "duplicate_key")
    assert await state(databases) == before


async def test_a_body_has_its_bound(portal: Portal, world: World) -> None:
    answer = await portal.call("PATCH", f"/tenants/{world.tenant}", json={"name": "x" * 5_000_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_unknown_parameters_and_ids_that_are_none(app: FastAPI, portal: Portal, world: World) -> None:
    for route in routes.every(app.openapi()):
        path = route.path.format(**world.ids, user_id=world.owner, version=1)
        unknown = await portal.call(route.method, f"{path}?colour=red", json=routes.body(route))
        assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (400, "colour"), str(route)
        for name in route.params:
            for wrong in ("x", "0" * 25 + "U", "%00", "1'--", "..%2f"):
                ids = {**world.ids, "user_id": world.owner, "version": 1} | {name: wrong}
                answer = await portal.call(route.method, route.path.format(**ids), json=routes.body(route))
                assert answer.status_code in (400, 404), f"{route} {wrong}: {answer.text}"
                assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "limit"), ("limit=100000", "limit"), ("limit=x", "limit"), ("limit=1&limit=2", "limit"),
        ("cursor=abc", "cursor"), ("cursor=" + "A" * 7000, "cursor"), ("from=yesterday", "from"),
        ("from=2026-01-01T00:00:00", "from"), ("base_id=x", "base_id"), ("action=drop", "action"),
        ("%00=1", "\x00"),
    ],
)  # fmt: skip
async def test_parameters_have_their_form(portal: Portal, world: World, query: str, pointer: str) -> None:
    answer = await portal.call("GET", f"/tenants/{world.tenant}/activity?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_an_acting_user_is_an_id(portal: Portal) -> None:
    answer = await portal.call("GET", "/tenants", headers={"Planebase-Acting-User": "me"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "Planebase-Acting-User"


async def test_addresses_and_methods_that_are_none(portal: Portal, world: World) -> None:
    gone = await portal.call("GET", "/nothing/here")
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
    wrong = await portal.call("DELETE", f"/tenants/{world.tenant}")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    slash = await portal.call("GET", "/tenants/")
    assert slash.status_code == 404


async def test_the_log_has_a_line_and_nothing_that_was_sent(
    portal: Portal, world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        body = {"amount_cents": -5, "secret": "swordfish"}
        await portal.call("POST", f"/wallets/{world.ids['wallet_id']}/topups", json=body)
    said = caplog.text + "".join(capsys.readouterr())
    assert "swordfish" not in said
    assert "Traceback" not in said


async def test_the_description_is_true(app: FastAPI) -> None:
    described = app.openapi()
    assert described["openapi"].startswith("3.1")
    assert json.dumps(described)
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if path == "/healthz":
                continue
            statuses = set(operation["responses"])
            assert {"400", "401", "503"} <= statuses, f"{method} {path}"
            if method != "get":
                names = [p["name"].lower() for p in operation.get("parameters", [])]
                assert "idempotency-key" in names, f"{method} {path}"
