"""Wallets: read here, filled by a workflow that takes the payment first."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import Field, StrictBool, StrictInt, StringConstraints, model_validator
from starlette.responses import Response

from api.control.caller import Caller, Reads, Writes, missing
from api.control.work import Accepted, accepted, enqueue
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import CentsOrNone, Closed, Id, Out, Page, cut
from core import wallet as rules
from core.access import Action
from core.errors import Fault, Invalid
from core.ids import Ulid
from db.control import wallets
from db.control.members import Place
from db.control.models import Wallet
from db.sessions import ControlSession

router = APIRouter(tags=["wallets"])


class WalletOut(Out):
    """A tenant's money, in cents."""

    id: Ulid
    tenant_id: Ulid
    balance_cents: int
    expires_at: datetime | None
    auto_refill_enabled: bool
    refill_threshold_cents: int
    refill_amount_cents: int
    created_at: datetime
    updated_at: datetime


class EntryOut(Out):
    """One movement of money."""

    id: Ulid
    wallet_id: Ulid
    seq: int
    type: str
    amount_cents: int
    runs_delta: int
    balance_after_cents: int
    ref: str
    operation_id: Ulid | None
    created_at: datetime


class LedgerPage(Page):
    """A page of movements, newest first."""

    entries: list[EntryOut]


class TopUp(Closed):
    """Money to be taken from the tenant's means of payment and put into the wallet."""

    amount_cents: Annotated[StrictInt, Field(gt=0, le=rules.REFILL_MAX_CENTS)]
    payment_ref: Annotated[
        str | None, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")
    ] = None


class RefillSettings(Closed):
    """When the wallet is filled again by itself, and with how much."""

    auto_refill_enabled: StrictBool | None = None
    refill_threshold_cents: Annotated[CentsOrNone | None, Field()] = None
    refill_amount_cents: Annotated[StrictInt, Field(ge=0, le=rules.REFILL_MAX_CENTS)] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("one setting at least is needed")
        return self


@router.get("/wallets/{wallet_id}", responses=problems(400, 401, 403, 404, 503))
async def get_wallet(wallet_id: Id, caller: Reads) -> WalletOut:
    """Show a wallet."""
    async with caller.reading() as session:
        wallet, _ = await _found(session, caller, Ulid(wallet_id), Action.WALLET_READ)
    return WalletOut.model_validate(wallet)


@router.get("/tenants/{tenant_id}/wallet", responses=problems(400, 401, 403, 404, 503))
async def get_wallet_of_tenant(tenant_id: Id, caller: Reads) -> WalletOut:
    """Show a tenant's wallet."""
    async with caller.reading() as session:
        place = await caller.at_tenant(session, Ulid(tenant_id), Action.WALLET_READ)
        wallet = await wallets.of_tenant(session, place.tenant_id)
    if wallet is None:
        raise missing("wallet")
    return WalletOut.model_validate(wallet)


@router.get("/wallets/{wallet_id}/ledger", responses=problems(400, 401, 403, 404, 503))
async def list_ledger(
    wallet_id: Id, caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> LedgerPage:
    """List a wallet's movements, newest first; their sum is its balance."""
    query = f"ledger {wallet_id}"
    before = caller.parts.cursors.read(query, cursor) if cursor else None
    async with caller.reading() as session:
        await _found(session, caller, Ulid(wallet_id), Action.WALLET_READ)
        found = await wallets.ledger(session, Ulid(wallet_id), before_seq=before, limit=limit + 1)
    rows, more = cut(found, limit)
    return LedgerPage(
        entries=[EntryOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].seq) if more else None,
    )


@router.post(
    "/wallets/{wallet_id}/topups",
    status_code=202,
    response_model=Accepted,
    responses=problems(400, 401, 403, 404, 409, 422, 503),
)
async def top_up(wallet_id: Id, body: TopUp, caller: Writes) -> Response:
    """Ask for a payment; its end says whether it was taken, and then the wallet has it."""
    async with caller.change() as change:
        wallet, place = await _found(change.session, caller, Ulid(wallet_id), Action.WALLET_TOP_UP)
        operation = await enqueue(
            caller,
            change,
            kind="wallet_refill",
            subject_id=wallet.id,
            tenant_id=place.tenant_id,
            input={"amount_cents": body.amount_cents, "reason": "topup", "payment_ref": body.payment_ref},
            cancelable=True,
        )
        await caller.tell(
            change,
            "WALLET_TOPUP_REQUEST",
            tenant_id=place.tenant_id,
            resource=("wallet", wallet.id),
            diff={"amount_cents": body.amount_cents},
        )
        accepted(caller, change, operation)
    return change.response()


@router.patch(
    "/wallets/{wallet_id}",
    response_model=WalletOut,
    responses=problems(400, 401, 403, 404, 409, 422, 503),
)
async def change_refill(wallet_id: Id, body: RefillSettings, caller: Writes) -> Response:
    """Say when the wallet is filled again by itself."""
    async with caller.change() as change:
        wallet, place = await _found(
            change.session, caller, Ulid(wallet_id), Action.WALLET_SETTINGS, lock=True
        )
        settings = {
            "auto_refill_enabled": wallet.auto_refill_enabled,
            "refill_threshold_cents": wallet.refill_threshold_cents,
            "refill_amount_cents": wallet.refill_amount_cents,
        } | body.model_dump(exclude_none=True)
        if settings["auto_refill_enabled"] and not rules.is_refill(settings["refill_amount_cents"]):
            words = f"an automatic refill needs an amount of 1 to {rules.REFILL_MAX_CENTS} cents"
            raise Invalid(words, (Fault("/refill_amount_cents", "required", words),))
        changed = await wallets.configure(change.session, wallet.id, **settings)
        await caller.tell(
            change,
            "WALLET_SETTINGS",
            tenant_id=place.tenant_id,
            resource=("wallet", wallet.id),
            diff=body.model_dump(exclude_none=True),
        )
        change.answer(200, WalletOut.model_validate(changed))
    return change.response()


async def _found(
    session: ControlSession, caller: Caller, wallet_id: Ulid, action: Action, *, lock: bool = False
) -> tuple[Wallet, Place]:
    wallet = await wallets.get(session, wallet_id, lock=lock)
    if wallet is None:
        raise missing("wallet")
    return wallet, await caller.at_tenant(session, wallet.tenant_id, action, what="wallet")
