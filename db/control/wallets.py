"""Wallets and their ledger: inserting an entry is the only way to move money."""

from collections.abc import Sequence

from sqlalchemy import func, insert, select, update

from core.errors import Conflict
from core.ids import Ulid
from core.wallet import Entry
from db.control.models import Wallet, WalletLedger
from db.sessions import ControlSession


async def get(session: ControlSession, wallet_id: Ulid, *, lock: bool = False) -> Wallet | None:
    """Return one wallet, locked until the end of the transaction where that is asked for."""
    return await session.get(Wallet, wallet_id, with_for_update=lock or None)


async def of_tenant(session: ControlSession, tenant_id: Ulid) -> Wallet | None:
    """Return a tenant's wallet."""
    return await session.scalar(select(Wallet).where(Wallet.tenant_id == tenant_id))


async def ledger(
    session: ControlSession, wallet_id: Ulid, *, before_seq: int | None, limit: int
) -> Sequence[WalletLedger]:
    """Return a wallet's entries, newest first, those before `before_seq`."""
    query = (
        select(WalletLedger)
        .where(WalletLedger.wallet_id == wallet_id)
        .order_by(WalletLedger.seq.desc())
        .limit(limit)
    )
    if before_seq is not None:
        query = query.where(WalletLedger.seq < before_seq)
    return (await session.scalars(query)).all()


async def configure(
    session: ControlSession,
    wallet_id: Ulid,
    *,
    auto_refill_enabled: bool,
    refill_threshold_cents: int,
    refill_amount_cents: int,
) -> Wallet:
    """Say when a wallet is filled again by itself, and with how much."""
    query = (
        update(Wallet)
        .where(Wallet.id == wallet_id)
        .values(
            auto_refill_enabled=auto_refill_enabled,
            refill_threshold_cents=refill_threshold_cents,
            refill_amount_cents=refill_amount_cents,
            updated_at=func.now(),
        )
        .returning(Wallet)
    )
    return (await session.scalars(query, execution_options={"populate_existing": True})).one()


async def post(
    session: ControlSession, entry_id: Ulid, wallet_id: Ulid, entry: Entry, operation_id: Ulid | None
) -> WalletLedger:
    """Append `entry` and move the balance. Repeating a ref changes nothing and returns what is there.

    Raises NotFound, Conflict (the ref was posted with another type or amount) and InsufficientFunds.
    """
    # The ledger's trigger decides under the wallet's lock, and fills in `seq` and the balance.
    await session.execute(
        insert(WalletLedger.__table__)  # type: ignore[arg-type]
        .inline()
        .values(
            id=entry_id,
            wallet_id=wallet_id,
            seq=0,
            balance_after_cents=0,
            type=entry.type,
            amount_cents=entry.amount_cents,
            runs_delta=entry.runs_delta,
            ref=entry.ref,
            operation_id=operation_id,
        )
    )
    posted = select(WalletLedger).where(WalletLedger.wallet_id == wallet_id, WalletLedger.ref == entry.ref)
    row = (await session.scalars(posted)).one()
    if row.type != entry.type:
        raise Conflict(f"ref {entry.ref} was posted as {row.type}")
    return row
