"""Corrections of wallets: each has a reason and a ref that is posted once."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StrictInt, StringConstraints, field_validator
from starlette.responses import Response

from api.admin.caller import Acts, missing
from api.problems import problems
from api.strict import MAX_CENTS, Closed, Id, Out, Prose
from core import ids
from core import wallet as rules
from core.audit import AdminAction
from core.ids import Ulid
from core.wallet import Entry
from db.control import wallets

router = APIRouter(prefix="/wallets", tags=["wallets"])


class Adjustment(Closed):
    """A correction, up or down; `ref` names it in the wallet, and a name is posted once."""

    amount_cents: Annotated[StrictInt, Field(ge=-MAX_CENTS, le=MAX_CENTS)]
    reason: Prose
    ref: Annotated[
        str,
        StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$"),
        Field(
            description=f"Not one that begins with {', '.join(rules.RESERVED_REFS)}: those are the platform's."
        ),
    ]

    @field_validator("amount_cents")
    @classmethod
    def _something(cls, amount_cents: int) -> int:
        if amount_cents == 0:
            raise ValueError("an adjustment of nothing is none")
        return amount_cents

    @field_validator("ref")
    @classmethod
    def _own_name(cls, ref: str) -> str:
        if rules.is_reserved(ref):
            raise ValueError(f"refs that begin with {', '.join(rules.RESERVED_REFS)} are the platform's own")
        return ref


class EntryOut(Out):
    """The entry in the ledger, and the balance after it."""

    id: Ulid
    wallet_id: Ulid
    seq: int
    type: str
    amount_cents: int
    balance_after_cents: int
    ref: str
    operation_id: Ulid | None
    created_at: datetime


@router.post(
    "/{wallet_id}/adjustments",
    name=AdminAction.WALLET_ADJUST,
    status_code=201,
    response_model=EntryOut,
    responses=problems(400, 401, 404, 409, 422, 503),
)
async def adjust_wallet(wallet_id: Id, body: Adjustment, actor: Acts) -> Response:
    """Correct a wallet. Repeating a ref with its amount changes nothing; with another it is refused."""
    async with actor.change() as change:
        wallet = await wallets.get(change.session, Ulid(wallet_id))
        if wallet is None:
            raise missing("wallet")
        posted = await wallets.post(
            change.session,
            ids.new(),
            wallet.id,
            Entry("adjustment", body.amount_cents, body.ref),
            actor.request_id,
        )
        await actor.record(
            change,
            201,
            tenant_id=wallet.tenant_id,
            target=("wallet", wallet.id),
            details={
                "amount_cents": body.amount_cents,
                "reason": body.reason,
                "ref": body.ref,
                "entry_id": posted.id,
                "balance_after_cents": posted.balance_after_cents,
            },
        )
        if posted.operation_id == actor.request_id:
            await actor.tell_tenant(
                change,
                actor.action.value,
                tenant_id=wallet.tenant_id,
                resource=("wallet", wallet.id),
                diff={"amount_cents": body.amount_cents, "reason": body.reason},
            )
        change.answer(201, EntryOut.model_validate(posted))
    return change.response()
