"""Refill a wallet: the money is taken and credited, or it is not taken, or a person is told that nobody knows."""

from dataclasses import replace
from datetime import timedelta

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.wallet import Ask, Settle
    from activities.wallet import WalletActivities as Do
    from workflows.options import FAST
    from workflows.shared import Process, Start

# The activity itself counts its attempts and says how long to wait: what is unknown must be asked after.
PROVIDER = replace(FAST, timeout=timedelta(seconds=45))


class Refilled(BaseModel):
    """What was credited, and what the wallet holds now; nothing where nothing was needed any more."""

    wallet_id: str
    refill_id: str | None = None
    amount_cents: int = 0
    balance_cents: int | None = None


@workflow.defn
class WalletRefill(Process):
    """Takes a payment and credits it to the wallet, once; used by the portal's top-up and by itself."""

    @workflow.run
    async def run(self, start: Start) -> Refilled:
        """Refill the wallet of this operation."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> Refilled:
        self.expect("look_back", "request", "charge", "settle")
        given = self.start.input
        ask = Ask(
            **self.subject,
            wallet_id=self.start.subject_id,
            amount_cents=given.get("amount_cents"),
            payment_ref=given.get("payment_ref"),
            if_low=given.get("reason") == "auto",
        )
        await self.step(
            "look_back", Do.settle_earlier, ask, PROVIDER, label="earlier refills without an answer"
        )
        order = await self.step(
            "request", Do.request_refill, ask, label="written down before anybody is asked"
        )
        if not order.is_wanted:
            return Refilled(wallet_id=order.wallet_id)
        # From here on money may have moved, so a cancel is not obeyed.
        self.no_return()
        charge = await self.step(
            "charge", Do.charge, order, PROVIDER, label=f"{order.amount_cents} cents, key {order.refill_id}"
        )
        if charge.state == "unknown":
            await self.step("report", Do.report_unknown, order, label="nobody knows: people are told")
            raise ApplicationError(
                f"nobody knows whether the payment was made: {charge.reason}; the next refill asks again",
                type="payment_unknown",
                non_retryable=True,
            )
        settle = Settle(
            **self.subject,
            refill_id=order.refill_id,
            wallet_id=order.wallet_id,
            amount_cents=order.amount_cents,
            state=charge.state,
            provider_ref=charge.provider_ref,
            reason=charge.reason,
        )
        credited = await self.step("settle", Do.settle_refill, settle, label=f"the payment is {charge.state}")
        if charge.state == "declined":
            raise ApplicationError(
                f"the payment was declined: {charge.reason or 'no reason given'}",
                type="payment_declined",
                non_retryable=True,
            )
        return Refilled(
            wallet_id=order.wallet_id,
            refill_id=credited.refill_id,
            amount_cents=credited.amount_cents,
            balance_cents=credited.balance_cents,
        )
