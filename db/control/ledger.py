"""Posting to a wallet: what the ledger's trigger lets happen, and whether it had happened before."""

from dataclasses import dataclass

from sqlalchemy import text

from core.errors import NotFound
from core.ids import Ulid, new
from core.wallet import Entry
from db.control import wallets
from db.sessions import ControlSession
from db.transactions import translated


@dataclass(frozen=True)
class Posted:
    """A movement that is in the ledger; `is_new` where this call put it there."""

    id: Ulid
    balance_cents: int
    is_new: bool


async def lock(session: ControlSession, wallet_id: Ulid) -> int:
    """Return the balance, which nobody else moves before this transaction ends."""
    balance = await session.scalar(
        text("select balance_cents from control.wallets where id = :id for update"), {"id": wallet_id}
    )
    if balance is None:
        raise NotFound(f"there is no wallet {wallet_id}")
    return int(balance)


async def post(session: ControlSession, wallet_id: Ulid, entry: Entry, operation_id: Ulid | None) -> Posted:
    """Append `entry` and move the balance; repeating a ref changes nothing.

    Raises NotFound, Conflict (the ref was posted with another type or amount) and InsufficientFunds.
    """
    entry_id = new()
    with translated():
        row = await wallets.post(session, entry_id, wallet_id, entry, operation_id)
    return Posted(row.id, row.balance_after_cents, row.id == entry_id)
