"""Deliveries: signed, tried again under one id, given up loudly, and never to an address of ours."""

import asyncio
import json
import socket
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet

from activities import outgoing
from activities.notify import Deliver, Delivered, GiveUp, NotifyActivities
from core import notification
from core.ids import Ulid, new
from tests import seeds
from tests.activities.conftest import SECRET_KEY, Money, run
from tests.conftest import Databases
from tests.parts import Mails, Receiver, served

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def notification_for(
    databases: Databases, channel: str, to: str, *, secret: str | None = None, with_channel: bool = True
) -> tuple[Ulid, Ulid]:
    """Make an alert and a pending notification of it; returns the tenant and the notification."""
    tenant_id, alert_id, made = new(), new(), new()
    sealed = (
        None if secret is None else Fernet(SECRET_KEY.get_secret_value()).encrypt(secret.encode()).decode()
    )
    channel_id = None
    if with_channel:
        channel_id = await seeds.channel(databases, tenant_id, channel, to, secret_sealed=sealed)
    async with databases.own("alarms") as conn:
        await conn.execute(
            "insert into alarms.alerts (id, tenant_id, kind, severity, dedupe_key, first_seen_at, last_seen_at,"
            " context_json) values ($1, $2, 'RUNS_THRESHOLD', 'critical', 'RUNS_THRESHOLD/2026-11', now(), now(), $3)",
            alert_id, tenant_id, json.dumps({"value": 1200, "limit": 1000}),
        )  # fmt: skip
        await conn.execute(
            'insert into alarms.notifications (id, alert_id, tenant_id, channel_id, channel, "to")'
            " values ($1, $2, $3, $4, $5, $6)",
            made, alert_id, tenant_id, channel_id, channel, to,
        )  # fmt: skip
    return tenant_id, made


async def delivered(
    activities: NotifyActivities, notification_id: Ulid, operation_id: Ulid | None = None
) -> Delivered:
    """Deliver as the run would: attempt after attempt while the activity says so, without the waits."""
    done = await attempted(activities, notification_id, 1, operation_id)
    while done.outcome == "later":
        assert done.again_in_s is not None
        assert done.send_attempts < done.most
        done = await attempted(activities, notification_id, done.send_attempts + 1, operation_id)
    assert done.again_in_s is None
    return done


async def attempted(
    activities: NotifyActivities, notification_id: Ulid, number: int, operation_id: Ulid | None = None
) -> Delivered:
    what = Deliver(operation_id=operation_id or new(), notification_id=notification_id, attempt=number)
    return await run(activities.deliver, what)


async def row(databases: Databases, notification_id: Ulid) -> dict[str, Any]:
    (found,) = await seeds.rows(
        databases, "alarms",
        "select status, send_attempts, error, sent_at, last_attempt_at from alarms.notifications where id = $1",
        notification_id,
    )  # fmt: skip
    attempts = await seeds.rows(
        databases, "alarms",
        "select attempt, outcome from alarms.notification_attempts where notification_id = $1 order by attempt",
        notification_id,
    )  # fmt: skip
    return {**found, "attempts": [(each["attempt"], each["outcome"]) for each in attempts]}


async def alerts(databases: Databases, tenant_id: Ulid) -> list[tuple[str, str]]:
    found = await seeds.rows(
        databases, "alarms",
        "select kind, status from alarms.alerts where tenant_id = $1 and kind = 'DELIVERY_FAILED'", tenant_id,
    )  # fmt: skip
    return [(each["kind"], each["status"]) for each in found]


async def test_a_webhook_that_fails_twice_arrives_under_one_id(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    tenant_id, made = await notification_for(databases, "webhook", receiver.url, secret=SECRET)
    receiver.answers = [(500, {}), (503, {})]
    done = await delivered(money.notify, made)
    assert (done.outcome, done.send_attempts) == ("sent", 3)
    assert [headers["webhook-id"] for headers, _ in receiver.calls] == [made] * 3
    for headers, body in receiver.calls:
        at = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == notification.sign(made, at, body, SECRET)
        assert json.loads(body)["data"]["kind"] == "RUNS_THRESHOLD"
    assert len({body for _, body in receiver.calls}) == 1
    found = await row(databases, made)
    assert (found["status"], found["attempts"]) == ("sent", [(1, "failed"), (2, "failed"), (3, "sent")])
    assert found["sent_at"] is not None
    # Whoever runs it again sends nothing.
    assert (await delivered(money.notify, made)).outcome == "sent"
    assert len(receiver.calls) == 3
    assert await alerts(databases, tenant_id) == []


async def test_a_webhook_without_a_secret_is_not_signed(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    _, made = await notification_for(databases, "webhook", receiver.url)
    await delivered(money.notify, made)
    assert "webhook-signature" not in receiver.calls[0][0]


async def test_a_used_up_table_is_a_dead_letter_and_an_alert_that_does_not_go_the_same_way(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    tenant_id, made = await notification_for(databases, "webhook", receiver.url)
    await seeds.channel(databases, tenant_id, "email", "ops@example.com")
    receiver.answers = [(500, {})] * 9
    operation_id = new()
    done = await delivered(money.notify, made, operation_id)
    assert (done.outcome, done.send_attempts, done.needs_human) == ("dead", 3, True)
    assert len(receiver.calls) == 3
    for _ in range(2):  # a run that broke after its last commit tells it again, and changes nothing
        await delivered(money.notify, made, operation_id)
        assert await alerts(databases, tenant_id) == [("DELIVERY_FAILED", "open")]
        told = await seeds.rows(
            databases, "alarms",
            "select n.channel from alarms.notifications n join alarms.alerts a on a.id = n.alert_id"
            " where a.tenant_id = $1 and a.kind = 'DELIVERY_FAILED' order by 1", tenant_id,
        )  # fmt: skip
        assert [each["channel"] for each in told] == ["email", "inapp"]

    # The next one that arrives ends the alert.
    receiver.answers = []
    async with databases.own("alarms") as conn:
        again = new()
        await conn.execute(
            'insert into alarms.notifications (id, alert_id, tenant_id, channel_id, channel, "to", generation)'
            ' select $1, alert_id, tenant_id, channel_id, channel, "to", 2 from alarms.notifications where id = $2',
            again, made,
        )  # fmt: skip
    assert (await delivered(money.notify, again)).outcome == "sent"
    assert await alerts(databases, tenant_id) == [("DELIVERY_FAILED", "resolved")]


async def test_a_receiver_that_is_gone_is_not_asked_again(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    tenant_id, made = await notification_for(databases, "webhook", receiver.url)
    receiver.answers = [(410, {})]
    for _ in range(2):  # what its own answer closed is still told when it is run again
        done = await delivered(money.notify, made)
        assert (done.outcome, done.needs_human) == ("dead", True)
        assert await alerts(databases, tenant_id) == [("DELIVERY_FAILED", "open")]
    channels = await seeds.rows(
        databases, "alarms", "select status from alarms.channels where tenant_id = $1", tenant_id
    )
    assert channels == [{"status": "disabled"}]
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("answer", [(301, {"location": "http://127.0.0.1:9/"}), (302, {}), (404, {})])
async def test_a_redirect_is_not_followed_and_is_no_delivery(
    databases: Databases, money: Money, receiver: Receiver, answer: tuple[int, dict[str, str]]
) -> None:
    _, made = await notification_for(databases, "webhook", receiver.url)
    receiver.answers = [answer] * 9
    assert (await delivered(money.notify, made)).outcome == "dead"
    assert str(answer[0]) in (await row(databases, made))["error"]


async def test_retry_after_is_honoured_within_bounds(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    _, made = await notification_for(databases, "webhook", receiver.url)
    for number, asked, waits in ((1, "7", 7.0), (2, "999999", notification.RETRY_AFTER_MAX_S)):
        receiver.answers = [(429, {"retry-after": asked})]
        later = await attempted(money.notify, made, number)
        assert later.outcome == "later"
        assert later.again_in_s == pytest.approx(waits, abs=1)


async def test_an_attempt_that_was_made_is_not_made_again_and_its_wait_goes_on(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    _, made = await notification_for(databases, "webhook", receiver.url)
    receiver.answers = [(500, {})]
    what = Deliver(operation_id=new(), notification_id=made, delays_s=[0, 100, 100])
    first = await run(money.notify.deliver, what)
    async with databases.own("alarms") as conn:
        await conn.execute(
            "update alarms.notifications set last_attempt_at = last_attempt_at - interval '60 s' where id = $1", made
        )  # fmt: skip
    again = await run(money.notify.deliver, what, attempt=2)
    assert (first.outcome, first.send_attempts, first.most) == ("later", 1, 3)
    assert (again.outcome, again.send_attempts, again.error) == ("later", 1, first.error)
    assert first.again_in_s is not None
    assert again.again_in_s is not None
    assert 99 < first.again_in_s <= 110
    assert 39 < again.again_in_s <= 50
    assert len(receiver.calls) == 1
    assert (await row(databases, made))["attempts"] == [(1, "failed")]


async def test_two_workers_at_one_attempt_note_it_once(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    _, made = await notification_for(databases, "webhook", receiver.url)
    receiver.answers = [(500, {})] * 2
    both = await asyncio.gather(*(attempted(money.notify, made, 1) for _ in range(2)))
    assert [(each.outcome, each.send_attempts) for each in both] == [("later", 1)] * 2
    assert (await row(databases, made))["attempts"] == [(1, "failed")]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectError("[Errno 111] at https://x/secret"), "the receiver cannot be reached"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] secret"), "the receiver's certificate does not hold"),
        (httpx.ReadTimeout("secret"), "no answer in time"),
        (httpx.RemoteProtocolError("secret"), "the receiver broke off or answered what is no HTTP"),
        (httpx.LocalProtocolError("secret"), "the request could not be made: LocalProtocolError"),
        (httpx.InvalidURL("secret"), "the request could not be made: InvalidURL"),
        (OSError("secret"), "the request could not be made: OSError"),
    ],
)  # fmt: skip
async def test_what_went_wrong_is_said_without_the_address(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    async def broken(*_: object) -> outgoing.Answer:
        raise error

    monkeypatch.setattr(outgoing, "_post", broken)
    with pytest.raises(outgoing.Failed) as failed:
        await outgoing.post("http://127.0.0.1/secret", b"{}", {}, allow_private=True)
    assert str(failed.value) == words


async def test_slack_gets_words(databases: Databases, money: Money, receiver: Receiver) -> None:
    _, made = await notification_for(databases, "slack", receiver.url)
    assert (await delivered(money.notify, made)).outcome == "sent"
    assert "limit: 1000" in json.loads(receiver.calls[0][1])["text"]


async def test_a_mail_has_one_message_id(databases: Databases, money: Money, mails: Mails) -> None:
    _, made = await notification_for(databases, "email", "ada@example.com")
    assert (await delivered(money.notify, made)).outcome == "sent"
    (mail,) = [each for each in mails.box.newest() if made in each["message_id"]]
    assert (mail["to"], mail["from"]) == ("ada@example.com", "planebase@example.com")
    assert "critical" in mail["subject"]
    assert "value: 1200" in mail["text"]


async def test_a_mail_address_that_would_add_headers_is_refused(
    databases: Databases, money: Money, mails: Mails
) -> None:
    _, made = await notification_for(databases, "email", "a@example.com\r\nBcc: all@example.com")
    assert (await delivered(money.notify, made)).outcome == "dead"
    assert (await row(databases, made))["attempts"] == [(1, "refused")]


async def test_a_mail_server_that_is_away_is_tried_again(databases: Databases, money: Money) -> None:
    _, made = await notification_for(databases, "email", "a@example.com")
    away = NotifyActivities(
        money.notify._alerts._control, money.notify._alarms,
        mailer=outgoing.Mailer("smtp://127.0.0.1:1", "p@example.com"), delays_s=(0, 0.01),
    )  # fmt: skip
    assert (await delivered(away, made)).outcome == "dead"
    assert (await row(databases, made))["attempts"] == [(1, "failed"), (2, "failed")]


async def test_the_portals_own_is_delivered_by_being_there(databases: Databases, money: Money) -> None:
    _, made = await notification_for(databases, "inapp", "portal", with_channel=False)
    assert (await delivered(money.notify, made)).outcome == "sent"


async def test_a_secret_under_another_key_sends_nothing(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    _, made = await notification_for(databases, "webhook", receiver.url)
    async with databases.own("alarms") as conn:
        await conn.execute(
            "update alarms.channels set secret_sealed = 'gAAAA' where id ="
            " (select channel_id from alarms.notifications where id = $1)", made,
        )  # fmt: skip
    assert (await delivered(money.notify, made)).outcome == "dead"
    assert receiver.calls == []


async def test_a_channel_that_was_closed_meanwhile_hears_nothing_and_nobody_is_alarmed(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    tenant_id, made = await notification_for(databases, "webhook", receiver.url)
    async with databases.own("alarms") as conn:
        await conn.execute("update alarms.channels set status = 'disabled' where tenant_id = $1", tenant_id)
    done = await delivered(money.notify, made)
    assert (done.outcome, done.needs_human) == ("dead", False)
    assert receiver.calls == []
    assert await alerts(databases, tenant_id) == []


async def given_up(activities: NotifyActivities, notification_id: Ulid, operation_id: Ulid) -> None:
    given = GiveUp(operation_id=operation_id, notification_id=notification_id, reason="canceled")
    await run(activities.give_up, given)


async def test_what_is_given_up_is_dead_and_told_like_any_other_and_not_sent_any_more(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    tenant_id, made = await notification_for(databases, "webhook", receiver.url)
    receiver.answers = [(500, {})]
    operation_id = new()
    assert (await attempted(money.notify, made, 0, operation_id)).send_attempts == 0
    assert (await attempted(money.notify, made, 1, operation_id)).outcome == "later"
    for _ in range(2):
        await given_up(money.notify, made, operation_id)
        found = await row(databases, made)
        assert (found["status"], found["error"], found["sent_at"]) == ("dead", "canceled", None)
        assert (found["send_attempts"], found["attempts"]) == (1, [(1, "failed")])
        assert await alerts(databases, tenant_id) == [("DELIVERY_FAILED", "open")]
    assert (await attempted(money.notify, made, 2, operation_id)).outcome == "dead"
    assert len(receiver.calls) == 1


async def test_what_was_sent_is_not_given_up(databases: Databases, money: Money, receiver: Receiver) -> None:
    tenant_id, made = await notification_for(databases, "webhook", receiver.url)
    await delivered(money.notify, made)
    before = await row(databases, made)
    await given_up(money.notify, made, new())
    assert await row(databases, made) == before
    assert await alerts(databases, tenant_id) == []


async def test_what_is_given_up_on_a_closed_channel_alarms_nobody(databases: Databases, money: Money) -> None:
    tenant_id, made = await notification_for(databases, "webhook", "http://127.0.0.1:1")
    async with databases.own("alarms") as conn:
        await conn.execute("update alarms.channels set status = 'disabled' where tenant_id = $1", tenant_id)
    await given_up(money.notify, made, new())
    found = await row(databases, made)
    assert (found["status"], found["error"]) == ("dead", "the channel is disabled")
    assert await alerts(databases, tenant_id) == []


async def test_giving_up_what_is_not_there_is_no_failure(money: Money) -> None:
    await given_up(money.notify, new(), new())


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]",
     "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "10.0.0.1", "169.254.169.254", "0.0.0.0", "[fe80::1]", "192.168.1.1"],
)  # fmt: skip
async def test_nothing_is_sent_to_an_address_of_ours(databases: Databases, money: Money, host: str) -> None:
    _, made = await notification_for(databases, "webhook", f"https://{host}/hook")
    assert (await delivered(money.strict, made)).outcome == "dead"
    found = await row(databases, made)
    assert found["attempts"] == [(1, "refused")], found["error"]
    assert "public" in found["error"]


async def test_plain_http_is_refused_in_production(
    databases: Databases, money: Money, receiver: Receiver
) -> None:
    _, made = await notification_for(databases, "webhook", receiver.url)
    assert (await delivered(money.strict, made)).outcome == "dead"
    assert receiver.calls == []


async def test_a_name_is_looked_up_once_and_kept_in_the_request(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.split(":")[2].split("/")[0])
    looked_up: list[str] = []

    async def look_up(host: str, wanted: int, **_: object) -> list[Any]:
        looked_up.append(host)
        address = "127.0.0.1" if len(looked_up) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, wanted))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    answer = await outgoing.post(f"http://hook.example:{port}/x?y=1", b"{}", {}, allow_private=True)
    assert answer.status == 200
    assert looked_up == ["hook.example"]
    assert receiver.calls[0][0]["host"] == f"hook.example:{port}"


async def test_of_several_addresses_only_a_public_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(host: str, port: int, **_: object) -> list[Any]:
        return [
            (socket.AF_INET, 1, 6, "", (each, port)) for each in ("10.0.0.1", "93.184.216.34", "127.0.0.1")
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    assert await outgoing.resolve(notification.target("https://example.com/")) == "93.184.216.34"


async def test_an_answer_is_read_up_to_a_bound_and_waited_for_up_to_another(receiver: Receiver) -> None:
    receiver.body = b"x" * 50_000_000
    began = datetime.now(UTC)
    assert (await outgoing.post(receiver.url, b"{}", {}, allow_private=True)).status == 200
    assert (datetime.now(UTC) - began).total_seconds() < 3

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(5)

    async with served(silent) as url:
        with pytest.raises(outgoing.Failed, match=r"within 0\.2 s"):
            await outgoing.post(url, b"{}", {}, allow_private=True, timeout_s=0.2)
