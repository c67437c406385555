"""Rows of `control.refills`: money asked of the payment provider, and what came of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text

from core.ids import Ulid
from core.wallet import Outcome
from db.sessions import ControlSession

_MAX = 100
# Ends of operations that say nothing of the wallet: somebody was away, and the next cycle may find them back.
_FOR_NOW = ("payment_unknown", "away", "busy", "unavailable")
_SELECT = """
    select r.id, r.wallet_id, w.tenant_id, r.amount_cents, r.state, r.provider_ref, r.reason, r.operation_id,
           r.created_at, coalesce(w.payment_customer, w.id) as customer
      from control.refills r join control.wallets w on w.id = r.wallet_id """


@dataclass(frozen=True)
class Refill:
    """One refill, and whose money it is."""

    id: Ulid
    wallet_id: Ulid
    tenant_id: Ulid
    amount_cents: int
    state: Outcome
    provider_ref: str | None
    reason: str | None
    operation_id: Ulid | None
    created_at: datetime
    customer: str


@dataclass(frozen=True)
class Failed:
    """An operation that was to fill a wallet, and ended before anybody was asked for money."""

    operation_id: Ulid
    reason: str
    at: datetime


async def request(
    session: ControlSession, refill_id: Ulid, wallet_id: Ulid, amount_cents: int, operation_id: Ulid
) -> Refill:
    """Note that money is going to be asked for, before anybody is asked. Repeating it changes nothing."""
    await session.execute(
        text("""
            insert into control.refills (id, wallet_id, amount_cents, state, operation_id)
            values (:id, :wallet_id, :amount_cents, 'requested', :operation_id) on conflict (id) do nothing"""),
        {
            "id": refill_id,
            "wallet_id": wallet_id,
            "amount_cents": amount_cents,
            "operation_id": operation_id,
        },
    )
    return await get(session, refill_id)


async def get(session: ControlSession, refill_id: Ulid) -> Refill:
    """Return one refill that is there."""
    return _refill((await session.execute(text(_SELECT + "where r.id = :id"), {"id": refill_id})).one())


async def maybe(session: ControlSession, refill_id: Ulid) -> Refill | None:
    """Return one refill, or None where it was never written down."""
    row = (await session.execute(text(_SELECT + "where r.id = :id"), {"id": refill_id})).one_or_none()
    return None if row is None else _refill(row)


async def end(
    session: ControlSession, refill_id: Ulid, state: Outcome, provider_ref: str | None, reason: str | None
) -> bool:
    """Note the answer, once; False when it was known. Only money that came after all changes it."""
    done = await session.execute(
        text("""
            update control.refills
               set state = cast(:state as text), provider_ref = :provider_ref, reason = :reason, updated_at = now()
             where id = :id
               and (state = 'requested' or (state = 'declined' and cast(:state as text) = 'paid')) returning id"""),
        {"id": refill_id, "state": state, "provider_ref": provider_ref, "reason": reason},
    )
    return done.one_or_none() is not None


async def unanswered(session: ControlSession, wallet_id: Ulid, but: Ulid) -> list[Refill]:
    """Return a wallet's other refills whose outcome nobody knows, oldest first."""
    rows = await session.execute(
        text(
            _SELECT
            + "where r.wallet_id = :wallet_id and r.state = 'requested' and r.id <> :but order by r.id limit :max"
        ),
        {"wallet_id": wallet_id, "but": but, "max": _MAX},
    )
    return [_refill(row) for row in rows]


async def latest(
    session: ControlSession, wallet_ids: Sequence[Ulid], count: int = 5
) -> Mapping[Ulid, list[tuple[Outcome, datetime]]]:
    """Return each wallet's last outcomes, newest first, but for what the provider never heard."""
    rows = await session.execute(
        text("""
            select r.wallet_id, r.state, r.created_at
              from unnest(cast(:ids as text[])) as w (id)
              cross join lateral (
                select * from control.refills x
                 where x.wallet_id = w.id and x.reason is distinct from 'never_arrived'
                 order by x.created_at desc, x.id desc limit :count) r
             order by r.wallet_id, r.created_at desc, r.id desc"""),
        {"ids": list(wallet_ids), "count": count},
    )
    found: dict[Ulid, list[tuple[Outcome, datetime]]] = defaultdict(list)
    for row in rows:
        found[row.wallet_id].append((row.state, row.created_at))
    return found


async def never_asked(
    session: ControlSession, wallet_ids: Sequence[Ulid], count: int = 5
) -> Mapping[Ulid, list[Failed]]:
    """Return each wallet's automatic refills that failed for good before one was written, newest first."""
    rows = await session.execute(
        text("""
            select w.id as wallet_id, o.id as operation_id, o.reason, o.created_at
              from unnest(cast(:ids as text[])) as w (id)
              join control.wallets p on p.id = w.id
              cross join lateral (
                select x.id, x.error_json ->> 'code' as reason, x.created_at from control.operations x
                 where x.tenant_id = p.tenant_id and x.kind = 'wallet_refill' and x.subject_id = w.id
                   and x.state = 'failed' and x.input_json ->> 'reason' = 'auto'
                   and x.error_json ->> 'code' <> all(cast(:for_now as text[]))
                   and not exists (select from control.refills r
                                    where r.wallet_id = w.id and r.operation_id = x.id)
                 order by x.id desc limit :count) o
             order by w.id, o.created_at desc"""),
        {"ids": list(wallet_ids), "for_now": list(_FOR_NOW), "count": count},
    )
    found: dict[Ulid, list[Failed]] = defaultdict(list)
    for row in rows:
        found[row.wallet_id].append(Failed(row.operation_id, row.reason, row.created_at))
    return found


async def under_way(session: ControlSession, wallet_ids: Sequence[Ulid]) -> set[Ulid]:
    """Return the wallets that an operation is to fill or is filling."""
    rows = await session.scalars(
        text("""
            select subject_id from control.operations
             where kind = 'wallet_refill' and state in ('queued', 'running')
               and subject_id = any(cast(:ids as text[]))"""),
        {"ids": list(wallet_ids)},
    )
    return set(rows)


def _refill(row: Row[Any]) -> Refill:
    return Refill(**row._mapping)
