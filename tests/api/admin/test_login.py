"""Entering: password and a code that works once, a pause after five failures, and one answer for all."""

import asyncio
import time

import httpx
import pyotp
import pytest
from fastapi import FastAPI

from api.admin.app import create_app
from core import ids
from db.control import admins
from tests.api.admin.conftest import SECRET_KEY, Operator, client, make_operator, recorded, settings
from tests.conftest import Databases
from tests.seeds import rows


async def security_events(databases: Databases, admin_id: str) -> list[tuple[str, str]]:
    found = await rows(
        databases,
        "audit",
        "select type, details_json from audit.security_events where subject_user_id = $1"
        " order by occurred_at, id",
        admin_id,
    )
    return [(row["type"], row["details_json"]["verdict"]) for row in found]


async def test_a_session_begins_and_ends(databases: Databases, newcomer: Operator) -> None:
    begun = await newcomer.log_in()
    assert begun.status_code == 200
    me = await newcomer.call("GET", "/me")
    assert me.json()["admin"] == {
        "id": newcomer.id,
        "email": newcomer.email,
        "name": newcomer.email.partition("@")[0],
    }
    kept = await rows(
        databases, "control", "select * from control.admin_sessions where admin_id = $1", newcomer.id
    )
    assert newcomer.token is not None
    assert newcomer.token not in str(kept)
    assert await security_events(databases, newcomer.id) == [("ADMIN_LOGIN", "welcome")]
    ended = await newcomer.call("POST", "/logout")
    assert ended.status_code == 204
    assert (await newcomer.call("GET", "/me")).status_code == 401
    outcomes = await recorded(databases, begun.headers["x-request-id"])
    assert [row["details_json"]["phase"] for row in outcomes] == ["intent", "outcome"]
    assert [row["actor_admin_id"] for row in outcomes] == [None, newcomer.id]


async def test_a_session_is_short(databases: Databases, newcomer: Operator) -> None:
    await newcomer.log_in()
    async with databases.own("control") as conn:
        await conn.execute(
            "update control.admin_sessions set expires_at = now() where admin_id = $1", newcomer.id
        )
    assert (await newcomer.call("GET", "/me")).status_code == 401


async def test_a_disabled_operator_is_out_at_once(databases: Databases, newcomer: Operator) -> None:
    await newcomer.log_in()
    async with databases.own("control") as conn:
        await conn.execute("update control.admins set status = 'disabled' where id = $1", newcomer.id)
    assert (await newcomer.call("GET", "/me")).status_code == 401
    assert (await newcomer.log_in(totp=newcomer.code(30))).status_code == 401


async def test_a_code_works_once(databases: Databases, newcomer: Operator) -> None:
    code = newcomer.code()
    assert (await newcomer.log_in(totp=code)).status_code == 200
    again = await newcomer.log_in(totp=code)
    assert (again.status_code, again.json()["code"]) == (401, "invalid_credentials")
    older = await newcomer.log_in(totp=newcomer.code(-30))
    assert older.status_code == 401
    assert (await newcomer.log_in(totp=newcomer.code(30))).status_code == 200
    assert await security_events(databases, newcomer.id) == [
        ("ADMIN_LOGIN", "welcome"),
        ("MFA_BYPASS_ATTEMPT", "replayed_code"),
        ("MFA_BYPASS_ATTEMPT", "replayed_code"),
        ("ADMIN_LOGIN", "welcome"),
    ]


async def test_one_code_from_many_places_opens_one_session(databases: Databases, newcomer: Operator) -> None:
    code = newcomer.code()
    answers = await asyncio.gather(*(newcomer.log_in(totp=code) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    kept = await rows(
        databases, "control", "select 1 from control.admin_sessions where admin_id = $1", newcomer.id
    )
    assert len(kept) == 1


async def test_five_failures_and_a_pause(databases: Databases, newcomer: Operator) -> None:
    for attempt in range(5):
        wrong = {"password": "wrong"} if attempt % 2 else {"totp": "000000"}
        assert (await newcomer.log_in(**wrong)).status_code == 401
    during = await newcomer.log_in()
    assert (during.status_code, during.json()["code"]) == (401, "invalid_credentials")
    until = await rows(
        databases,
        "control",
        "select extract(epoch from locked_until - now())::float as s from control.admins where id = $1",
        newcomer.id,
    )
    assert 840 < until[0]["s"] <= 900
    assert (await security_events(databases, newcomer.id))[-1] == ("FAILED_LOGIN", "locked")
    async with databases.own("control") as conn:
        await conn.execute("update control.admins set locked_until = now() where id = $1", newcomer.id)
    assert (await newcomer.log_in()).status_code == 200


async def test_a_success_forgets_the_failures(databases: Databases, newcomer: Operator) -> None:
    for _ in range(4):
        await newcomer.log_in(password="wrong")
    assert (await newcomer.log_in()).status_code == 200
    kept = await rows(
        databases, "control", "select failed_logins from control.admins where id = $1", newcomer.id
    )
    assert kept[0]["failed_logins"] == 0


async def test_whatever_is_wrong_the_answer_and_the_work_are_the_same(
    databases: Databases, newcomer: Operator
) -> None:
    def plain(answer: httpx.Response) -> tuple[int, bytes]:
        return answer.status_code, answer.content.replace(answer.headers["x-request-id"].encode(), b"")

    tries: dict[str, dict[str, str]] = {
        "unknown": {"email": "nobody@example.com"},
        "password": {"password": "wrong"},
        "code": {"totp": "123456"},
    }
    answers = set()
    fastest: dict[str, float] = {}
    for _ in range(3):
        for name, change in tries.items():
            begun = time.perf_counter()
            answers.add(plain(await newcomer.log_in(**change)))
            took = time.perf_counter() - begun
            fastest[name] = min(took, fastest.get(name, took))
        async with databases.own("control") as conn:
            await conn.execute("update control.admins set failed_logins = 0 where id = $1", newcomer.id)
    assert len(answers) == 1
    # The hash is most of it: without one an unknown address would be ten times as fast.
    assert fastest["unknown"] > fastest["password"] / 3


async def test_a_failure_of_an_unknown_address_is_on_record_without_it(
    databases: Databases, newcomer: Operator
) -> None:
    answer = await newcomer.log_in(email="swordfish@example.com", password="hunter2hunter2")
    found = await rows(
        databases,
        "audit",
        "select * from audit.security_events where details_json ->> 'request_id' = $1",
        answer.headers["x-request-id"],
    )
    assert [(row["type"], row["subject_user_id"]) for row in found] == [("FAILED_LOGIN", None)]
    everything = str(found) + str(await recorded(databases, answer.headers["x-request-id"]))
    assert "swordfish" not in everything
    assert "hunter2" not in everything


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"totp": "12345"}, "/totp"),
        ({"totp": "１２３４５６"}, "/totp"),
        ({"totp": 123456}, "/totp"),
        ({"password": ""}, "/password"),
        ({"password": "x" * 1001}, "/password"),
        ({"email": "nobody"}, "/email"),
        ({"remember": True}, "/remember"),
    ],
)
async def test_a_login_has_its_form(
    databases: Databases, newcomer: Operator, change: dict[str, object], pointer: str
) -> None:
    answer = await newcomer.log_in(**change)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert newcomer.password not in answer.text
    kept = str(await recorded(databases, answer.headers["x-request-id"]))
    assert newcomer.password not in kept


async def test_the_audit_is_away_and_nobody_enters_or_guesses(databases: Databases) -> None:
    from tests.api.admin.test_away import NOWHERE

    app: FastAPI = create_app(settings(databases, audit_dsn=NOWHERE))
    async with app.router.lifespan_context(app), client(app) as http:
        operator = await make_operator(databases, http)
        assert (await operator.log_in()).status_code == 503
        assert (await operator.log_in(password="wrong")).status_code == 503
    kept = await rows(
        databases,
        "control",
        "select failed_logins, totp_last_step from control.admins where id = $1",
        operator.id,
    )
    assert kept[0] == {"failed_logins": 0, "totp_last_step": 0}


async def test_the_first_admin_is_made_once_and_can_be_given_new_proofs(
    databases: Databases, http: httpx.AsyncClient
) -> None:
    operator = await make_operator(databases, http)
    table = "select * from control.admins where id = $1"
    before = await rows(databases, "control", table, operator.id)
    owner = databases.owner("control")
    await asyncio.gather(
        *(
            admins.ensure_first(
                owner, operator.email.upper(), operator.password, operator.totp_secret, SECRET_KEY
            )
            for _ in range(3)
        )
    )
    assert await rows(databases, "control", table, operator.id) == before
    assert operator.totp_secret not in str(before)
    secret = pyotp.random_base32()
    await admins.ensure_first(owner, operator.email, "another one", secret, SECRET_KEY)
    operator.password, operator.totp_secret = "another one", secret
    assert (await operator.log_in()).status_code == 200
    assert ids.is_ulid(operator.id)
