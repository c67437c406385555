"""Refill a wallet: the money is taken and credited, or it is not taken, or a person is told that nobody knows."""

from dataclasses import replace
from datetime import timedelta

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.wallet import Ask, Charge, Found, Look, Order, Settle
    from activities.wallet import WalletActivities as Do
    from workflows.options import FAST
    from workflows.shared import Again, Process, Start, Undo
    from workflows.status import Problem

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
    """Takes a payment and credits it to the wallet, once; used by the portal's top-up and by itself.

    After a termination a fresh run asks what became of the payment, and credits it or notes that there is none.
    """

    @workflow.run
    async def run(self, start: Start) -> Refilled:
        """Refill the wallet of this operation."""
        return await self.carry_out(start, self._work)

    async def _work(self) -> Refilled:
        given = self.start.input
        ask = Ask(
            **self.subject,
            wallet_id=self.start.subject_id,
            amount_cents=given.get("amount_cents"),
            payment_ref=given.get("payment_ref"),
            if_low=given.get("reason") == "auto",
        )
        if self.start.left is not None:
            return await self._clear_up(self.start.left)
        self.expect("look_back", "request", "charge", "settle")
        await self.step(
            "look_back", Do.settle_earlier, ask, PROVIDER, label="earlier refills without an answer"
        )
        order = await self.step(
            "request",
            Do.request_refill,
            ask,
            undo=Undo(Do.void_refill, ask),
            label="written down before anybody is asked",
        )
        if not order.is_wanted:
            return Refilled(wallet_id=order.wallet_id)
        # From here on money may have moved, so a cancel is not obeyed.
        self.no_return()
        self.nothing_to_undo()
        charge = await self.step(
            "charge", Do.charge, order, PROVIDER, label=f"{order.amount_cents} cents, key {order.refill_id}"
        )
        return await self._settled(order, charge)

    async def _clear_up(self, left: Problem) -> Refilled:
        """After a run that was ended from outside: nothing is charged, and what was charged is settled."""
        self.no_return()
        self.expect("find", "settle")
        found = await self.step(
            "find",
            Do.find_charge,
            self._look(1),
            PROVIDER,
            label="was the payment made?",
            again=self._look_again,
        )
        if found.order is None or found.state == "none":
            raise ApplicationError(f"{left.detail}; no money was taken", type=left.code, non_retryable=True)
        charge = Charge.model_validate(found.model_dump(include={"state", "provider_ref", "reason"}))
        return await self._settled(found.order, charge)

    def _look_again(self, found: Found) -> Again[Look] | None:
        if found.state != "asked":
            return None
        return Again(
            self._look(found.nth + 1),
            wait=timedelta(seconds=found.again_in_s),
            label=f"look {found.nth + 1}",
            why="the provider has not heard of it, and it could still arrive",
        )

    def _look(self, nth: int) -> Look:
        return Look(**self.subject, since=workflow.info().start_time, nth=nth)

    async def _settled(self, order: Order, charge: Charge) -> Refilled:
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
