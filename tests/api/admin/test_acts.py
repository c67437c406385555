"""What operators do: stop and resume tenants, correct wallets, and look."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from core.ids import new
from tests.api.admin.conftest import Operator, recorded
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows


async def test_a_tenant_is_stopped_and_goes_on(
    databases: Databases, operator: Operator, world: World
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with databases.own("control") as conn:
        await conn.add_listener("gateway", lambda *event: heard.put_nowait(event[3]))
        stopped = await operator.call("POST", f"/tenants/{world.tenant}/suspend", json={"reason": "not paid"})
        async with asyncio.timeout(5):
            assert await heard.get() == "tenants"
    assert (stopped.json()["status"], stopped.json()["status_reason"]) == ("suspended", "not paid")
    twice = await operator.call("POST", f"/tenants/{world.tenant}/suspend", json={"reason": "again"})
    assert (twice.status_code, twice.json()["code"]) == (409, "wrong_status")
    on = await operator.call("POST", f"/tenants/{world.tenant}/resume")
    assert (on.json()["status"], on.json()["status_reason"]) == ("active", None)
    assert (await operator.call("POST", f"/tenants/{world.tenant}/resume")).status_code == 409
    assert (await operator.call("POST", f"/tenants/{new()}/resume")).status_code == 404
    outcome = (await recorded(databases, stopped.headers["x-request-id"]))[1]
    assert outcome["details_json"] == {
        "phase": "outcome",
        "status": 200,
        "before": "active",
        "after": "suspended",
        "reason": "not paid",
    }
    told = await rows(
        databases,
        "control",
        "select payload from control.outbox where destination = 'activity'"
        " and payload ->> 'tenant_id' = $1 order by seq",
        world.tenant,
    )
    assert [row["payload"]["action"] for row in told] == ["TENANT_SUSPEND", "TENANT_RESUME"]
    assert operator.id not in str(told)


async def test_a_wallet_is_corrected_once_per_ref(
    databases: Databases, operator: Operator, world: World
) -> None:
    path = f"/wallets/{world.ids['wallet_id']}/adjustments"
    body = {"amount_cents": -2_500, "reason": "charged twice", "ref": "ticket/7"}
    first = await operator.call("POST", path, json=body)
    assert (first.status_code, first.json()["balance_after_cents"]) == (201, 7_500)
    again = await operator.call("POST", path, json=body)
    assert again.json() == first.json()
    other = await operator.call("POST", path, json={**body, "amount_cents": -1})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    short = await operator.call("POST", path, json={**body, "amount_cents": -7_501, "ref": "ticket/8"})
    assert (short.status_code, short.json()["code"]) == (409, "insufficient_funds")
    assert (await operator.call("POST", f"/wallets/{new()}/adjustments", json=body)).status_code == 404
    ledger = await rows(
        databases,
        "control",
        "select type, amount_cents, operation_id from control.wallet_ledger where wallet_id = $1 order by seq",
        world.ids["wallet_id"],
    )
    assert [(row["type"], row["amount_cents"]) for row in ledger] == [
        ("topup", 10_000),
        ("adjustment", -2_500),
    ]
    assert ledger[1]["operation_id"] == first.headers["x-request-id"]
    told = await rows(
        databases,
        "control",
        "select 1 from control.outbox where destination = 'activity' and payload ->> 'tenant_id' = $1",
        world.tenant,
    )
    assert len(told) == 1


async def test_many_corrections_at_once_add_up(
    databases: Databases, operator: Operator, world: World
) -> None:
    path = f"/wallets/{world.ids['wallet_id']}/adjustments"
    answers = await asyncio.gather(
        *(
            operator.call("POST", path, json={"amount_cents": -4_000, "reason": "r", "ref": f"r/{n}"})
            for n in range(4)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]
    balance = await rows(
        databases, "control", "select balance_cents from control.wallets where tenant_id = $1", world.tenant
    )
    assert balance[0]["balance_cents"] == 2_000
    assert not await rows(databases, "control", "select * from control.ledger_drift")


async def test_what_is_seen(operator: Operator, world: World) -> None:
    one = (await operator.call("GET", f"/tenants/{world.tenant}")).json()
    assert one["placement"]["cluster_id"] == "local"
    assert one["wallet"]["balance_cents"] == 10_000
    assert one["subscription"]["plan_code"] == "free"
    page = (await operator.call("GET", "/tenants?limit=1")).json()
    assert page["next_cursor"]
    overview = (await operator.call("GET", "/overview")).json()
    assert overview["tenants"]["active"] > 0
    assert overview["operations"]["queued"] > 0
    assert overview["clusters"] == {"active": 1}
    clusters = (await operator.call("GET", "/clusters")).json()["clusters"]
    assert clusters[0]["tenants"] > 0
    found = (await operator.call("GET", f"/operations?tenant_id={world.tenant}&state=queued")).json()
    assert [row["id"] for row in found["operations"]] == [world.ids["operation_id"]]
    single = (await operator.call("GET", f"/operations/{world.ids['operation_id']}")).json()
    assert single["links"]["temporal_ui"] is None
    assert (await operator.call("GET", f"/operations/{new()}")).status_code == 404


BAD: list[tuple[str, Any, str]] = [
    ("/tenants/{tenant_id}/suspend", {}, "/reason"),
    ("/tenants/{tenant_id}/suspend", {"reason": ""}, "/reason"),
    ("/tenants/{tenant_id}/suspend", {"reason": "a\x00b"}, "/reason"),
    ("/tenants/{tenant_id}/suspend", {"reason": "x" * 1_001}, "/reason"),
    ("/tenants/{tenant_id}/suspend", {"raeson": "x"}, "/raeson"),
    ("/wallets/{wallet_id}/adjustments", {"amount_cents": 0, "reason": "r", "ref": "a"}, "/amount_cents"),
    ("/wallets/{wallet_id}/adjustments", {"amount_cents": "5", "reason": "r", "ref": "a"}, "/amount_cents"),
    ("/wallets/{wallet_id}/adjustments", {"amount_cents": 1.5, "reason": "r", "ref": "a"}, "/amount_cents"),
    (
        "/wallets/{wallet_id}/adjustments",
        {"amount_cents": 10**20, "reason": "r", "ref": "a"},
        "/amount_cents",
    ),
    ("/wallets/{wallet_id}/adjustments", {"amount_cents": 5, "reason": "r", "ref": "a b"}, "/ref"),
    ("/wallets/{wallet_id}/adjustments", {"amount_cents": 5, "reason": "r"}, "/ref"),
    *(
        ("/wallets/{wallet_id}/adjustments", {"amount_cents": 5, "reason": "r", "ref": ref}, "/ref")
        for ref in ("usage/2026-11/1500", "refill/x", "expire/x")
    ),
]


@pytest.mark.parametrize(("path", "body", "pointer"), BAD)
async def test_a_body_that_cannot_be_meant(
    databases: Databases, operator: Operator, world: World, path: str, body: Any, pointer: str
) -> None:
    answer = await operator.call("POST", path.format(**world.ids), json=body)
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert not await rows(
        databases, "control", "select 1 from control.outbox where payload ->> 'tenant_id' = $1", world.tenant
    )


@pytest.mark.parametrize(
    ("path", "raw", "pointer"),
    [
        ("/login", b'{"email":"a@b","password":"p","totp":"123456","password":"q"}', "/password"),
        ("/tenants/{tenant_id}/suspend", b'{"reason":"a","r\\u0065ason":"b"}', "/reason"),
        (
            "/wallets/{wallet_id}/adjustments",
            b'{"amount_cents":1,"reason":"r","ref":"a","amount_cents":100}',
            "/amount_cents",
        ),
    ],
)
async def test_a_key_that_stands_twice(
    databases: Databases, operator: Operator, world: World, path: str, raw: bytes, pointer: str
) -> None:
    answer = await operator.call(
        "POST", path.format(**world.ids), content=raw, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == (pointer, "duplicate_key")
    _, outcome = await recorded(databases, answer.headers["x-request-id"])
    assert outcome["details_json"] == {"phase": "outcome", "status": 422, "code": "invalid"}
    assert not await rows(
        databases, "control", "select 1 from control.outbox where payload ->> 'tenant_id' = $1", world.tenant
    )


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[]", b"null", b"[" * 5_000, b'{"reason": "\\ud800"}'])
async def test_a_body_that_cannot_be_read(operator: Operator, world: World, raw: bytes) -> None:
    answer = await operator.call(
        "POST",
        f"/tenants/{world.tenant}/suspend",
        content=raw,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_unknown_parameters_and_ids_that_are_none(
    app: FastAPI, operator: Operator, world: World
) -> None:
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            if path in ("/healthz", "/logout", "/login"):
                continue
            unknown = await operator.call(method.upper(), f"{path.format(**world.ids)}?colour=red", json={})
            assert unknown.status_code in (400, 422), path
            if "{" in path:
                wrong = path.replace("{tenant_id}", "x").replace("{wallet_id}", "x")
                answer = await operator.call(method.upper(), wrong.replace("{operation_id}", "x"), json={})
                assert answer.status_code in (400, 422), path


async def test_the_description_is_true(app: FastAPI, operator: Operator) -> None:
    described = (await operator.call("GET", "/openapi.json")).json()
    assert described == app.openapi()
    assert described["openapi"].startswith("3.1")
