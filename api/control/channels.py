"""Channels: where a tenant wants to hear of its alerts."""

import base64
import secrets
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import StringConstraints
from starlette.responses import Response

from api.control import places
from api.control.alerts import Medium
from api.control.caller import Reads, Writer, Writes, missing
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Id, Out, Page, cut
from core import alert as rules
from core import ids
from core.access import Action
from core.ids import Ulid
from db.alarms import channels
from db.transactions import transaction

router = APIRouter(tags=["channels"])

_SECRET_BYTES = 32


class NewChannel(Closed):
    """A place to be told at: an address, a webhook, a Slack hook, or a word for the portal itself."""

    channel: Medium
    to: Annotated[str, StringConstraints(min_length=1, max_length=places.MAX_CHARS)]
    min_severity: rules.Severity = "info"


class ChannelOut(Out):
    """A place where a tenant is told."""

    id: Ulid
    tenant_id: Ulid | None
    channel: str
    to: str
    min_severity: str
    status: str
    created_at: datetime
    updated_at: datetime


class ChannelMade(ChannelOut):
    """A new channel; a webhook's signing secret (Standard Webhooks) is in this answer and no other."""

    secret: str | None


class ChannelPage(Page):
    """A page of channels."""

    channels: list[ChannelOut]


@router.post(
    "/tenants/{tenant_id}/channels",
    status_code=201,
    response_model=ChannelMade,
    responses=problems(400, 401, 403, 404, 409, 422, 503),
)
async def create_channel(tenant_id: Id, body: NewChannel, caller: Writes) -> Response:
    """Have the tenant told at a place; one that was disabled is opened again, with a new secret."""
    parts = caller.parts
    to = places.check(body.channel, body.to, allow_http=parts.webhook_allow_http)
    secret = _new_secret() if body.channel == "webhook" else None
    async with caller.change() as change:
        place = await caller.at_tenant(change.session, Ulid(tenant_id), Action.CHANNEL_MANAGE)
        # Before the commit here: should that fail, the call is made again under its key, and takes its own row.
        async with transaction(parts.alarms) as alarms:
            row = await channels.open_(
                alarms,
                channel_id=_channel_id(caller, place.tenant_id),
                tenant_id=place.tenant_id,
                channel=body.channel,
                to=to,
                min_severity=body.min_severity,
                secret_sealed=None if secret is None else parts.sealer.seal(secret),
            )
        await caller.tell(
            change,
            "CHANNEL_CREATE",
            tenant_id=place.tenant_id,
            resource=("channel", row.id),
            diff={"channel": row.channel, "to": places.shown(row.channel, to)},
        )
        out = ChannelOut.model_validate(row).model_dump()
        change.answer(201, ChannelMade(**out, secret=secret), secret=True)
    return change.response()


@router.get("/tenants/{tenant_id}/channels", responses=problems(400, 401, 403, 404, 503))
async def list_channels(
    tenant_id: Id, caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> ChannelPage:
    """List where a tenant is told, disabled channels included."""
    query = f"channels {tenant_id}"
    after = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.CHANNEL_READ)
    async with transaction(caller.parts.alarms) as alarms:
        found = await channels.page(alarms, place.tenant_id, after=after, limit=limit + 1)
    rows, more = cut(found, limit)
    return ChannelPage(
        channels=[ChannelOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].id) if more else None,
    )


@router.delete("/channels/{channel_id}", status_code=204, responses=problems(400, 401, 403, 404, 409, 503))
async def disable_channel(channel_id: Id, caller: Writes) -> Response:
    """Tell the tenant no more at a place. Repeating it changes nothing."""
    async with caller.change() as change:
        async with transaction(caller.parts.alarms) as alarms:
            row = await channels.get(alarms, Ulid(channel_id))
        if row is None or row.tenant_id is None:
            raise missing("channel")
        await caller.at_tenant(change.session, row.tenant_id, Action.CHANNEL_MANAGE, what="channel")
        async with transaction(caller.parts.alarms) as alarms:
            await channels.disable(alarms, row.id)
        await caller.tell(
            change,
            "CHANNEL_DISABLE",
            tenant_id=row.tenant_id,
            resource=("channel", row.id),
        )
        change.answer(204)
    return change.response()


def _channel_id(caller: Writer, tenant_id: Ulid) -> Ulid:
    """Return the channel's id: a repeated call's is the same, so that it knows its own row again."""
    if caller.once.key is None:
        return ids.new()
    return ids.derived(ids.ms_of(tenant_id), "channel", caller.once.caller, caller.once.key)


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
