"""Alerts, channels and notifications, as a tenant handles them."""

from api.control.app import create_app
from tests.api.control.conftest import PORTAL_TOKEN, Portal, client, settings
from tests.api.worlds import World
from tests.conftest import Databases
from tests.seeds import rows


async def test_an_alert_is_taken_on_and_ended(portal: Portal, world: World) -> None:
    alert = f"/alerts/{world.ids['alert_id']}"
    admin = world.users["admin"]
    for _ in range(2):
        taken = await portal.call("POST", f"{alert}/ack", user=admin)
        assert (taken.json()["status"], taken.json()["acked_by"]) == ("ack", f"user:{admin}")
    ended = await portal.call("POST", f"{alert}/resolve", user=admin)
    at = ended.json()["resolved_at"]
    again = await portal.call("POST", f"{alert}/resolve", user=admin)
    assert (again.json()["status"], again.json()["resolved_at"]) == ("resolved", at)
    late = await portal.call("POST", f"{alert}/ack", user=admin)
    assert (late.status_code, late.json()["code"]) == (409, "alert_over")
    listed = await portal.call("GET", f"/tenants/{world.tenant}/alerts?status=resolved", user=admin)
    assert [row["id"] for row in listed.json()["alerts"]] == [world.ids["alert_id"]]
    none = await portal.call("GET", f"/tenants/{world.tenant}/alerts?status=open", user=admin)
    assert none.json()["alerts"] == []


async def test_the_platforms_own_alerts_are_for_the_portal_itself(
    databases: Databases, portal: Portal, world: World
) -> None:
    async with databases.own("alarms") as conn:
        await conn.execute(
            "update alarms.alerts set tenant_id = null, dedupe_key = id where id = $1", world.ids["alert_id"]
        )
    alert = f"/alerts/{world.ids['alert_id']}"
    assert (await portal.call("GET", alert, user=world.owner)).status_code == 404
    assert (await portal.call("POST", f"{alert}/ack", user=world.owner)).status_code == 404
    assert (await portal.call("GET", alert)).status_code == 200
    assert (await portal.call("POST", f"{alert}/ack")).json()["acked_by"] == "service"


async def test_a_channel_comes_goes_and_comes_back(
    databases: Databases, portal: Portal, world: World
) -> None:
    path = f"/tenants/{world.tenant}/channels"
    body = {"channel": "webhook", "to": "https://example.com/hook/secret-part", "min_severity": "critical"}
    made = await portal.call("POST", path, user=world.users["admin"], json=body)
    secret = made.json()["secret"]
    assert secret.startswith("whsec_")
    kept = await rows(databases, "alarms", "select * from alarms.channels where id = $1", made.json()["id"])
    assert secret not in str(kept)
    assert kept[0]["secret_sealed"]
    assert (await portal.call("POST", path, json=body)).status_code == 409
    for _ in range(2):
        assert (await portal.call("DELETE", f"/channels/{made.json()['id']}")).status_code == 204
    back = await portal.call("POST", path, json=body)
    assert (back.status_code, back.json()["status"]) == (201, "active")
    assert back.json()["id"] == made.json()["id"]
    assert back.json()["secret"] != secret
    told = await rows(
        databases,
        "control",
        "select payload from control.outbox where payload ->> 'resource_type' = 'channel'"
        " and payload ->> 'tenant_id' = $1",
        world.tenant,
    )
    assert "secret-part" not in str(told)


async def test_each_kind_of_place(portal: Portal, world: World) -> None:
    path = f"/tenants/{world.tenant}/channels"
    for channel, to in (
        ("email", "ops@example.com"),
        ("slack", "https://hooks.slack.com/services/T/B/x"),
        ("inapp", world.owner),
    ):
        made = await portal.call("POST", path, json={"channel": channel, "to": to})
        assert made.status_code == 201
        assert made.json()["secret"] is None
    assert (await portal.call("GET", path, user=world.users["viewer"])).status_code == 403


async def test_plain_http_only_where_a_setting_says_so(databases: Databases, world: World) -> None:
    app = create_app(settings(databases, webhook_allow_http=True))
    async with app.router.lifespan_context(app), client(app) as http:
        answer = await http.post(
            f"/tenants/{world.tenant}/channels",
            json={"channel": "webhook", "to": "http://127.0.0.1:9/hook"},
            headers={"Authorization": f"Bearer {PORTAL_TOKEN}"},
        )
    assert answer.status_code == 201


async def test_a_notification_in_the_portal_is_read(
    databases: Databases, portal: Portal, world: World
) -> None:
    viewer = world.users["viewer"]
    listed = await portal.call("GET", f"/tenants/{world.tenant}/notifications?channel=inapp", user=viewer)
    assert [row["status"] for row in listed.json()["notifications"]] == ["sent"]
    path = f"/notifications/{world.ids['notification_id']}"
    for _ in range(2):
        assert (await portal.call("POST", f"{path}/read", user=viewer)).json()["status"] == "read"
    async with databases.own("alarms") as conn:
        await conn.execute(
            "update alarms.notifications set channel = 'slack', status = 'pending',"
            " \"to\" = 'https://hooks.slack.com/services/secret' where id = $1",
            world.ids["notification_id"],
        )
    refused = await portal.call("POST", f"{path}/read", user=viewer)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_readable")
    shown = await portal.call("GET", f"/tenants/{world.tenant}/notifications", user=viewer)
    assert shown.json()["notifications"][0]["to"] == "https://hooks.slack.com/…"
