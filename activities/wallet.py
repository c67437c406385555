"""Money in and out of wallets: debits of usage, and refills through the payment provider."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import structlog
from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.alert import Alerts
from activities.payments import OutcomeUnknown, PaymentProvider, PaymentRefused
from activities.shared import Outcome, Subject
from core import alert, wallet
from core.alert import Observation
from core.errors import Fault, Invalid, NotFound, PlanebaseError, Unavailable
from core.ids import Ulid, new
from core.wallet import Entry
from db.control import ledger, metering, operations, outbox, refills, wallets
from db.control.metering import Dirty
from db.control.refills import Refill
from db.faults import comes_back
from db.sessions import AlarmsSession, ControlSession
from db.transactions import Sessions

PAGE = 200
_PAGES_MAX = 100_000
_NEVER_ARRIVED = "never_arrived"
_NOT_DEBITED_KEY = "INVARIANT_BROKEN/debits"
_NAMED_MAX = 20
_log = structlog.get_logger("wallet")


class Retries(BaseModel):
    """How often an unknown outcome is asked after, and how long between."""

    first_s: float = 1.0
    longest_s: float = 60.0
    attempts: int = 20
    arrives_within_s: float = 900.0
    """A charge on its way could still arrive; after this, what the provider never heard was never made."""


class Bill(Subject):
    """Debit what is due."""

    period: datetime


class Billed(Outcome):
    """How many debits there were, what they took in all, and how many could not be made."""

    debits: int = 0
    debited_cents: int = 0
    failed: int = 0


class Ask(Subject):
    """Money is wanted for a wallet: without an amount as much as it says; `if_low` only where it is low."""

    wallet_id: str
    amount_cents: int | None = None
    payment_ref: str | None = None
    if_low: bool = False


class Order(Subject):
    """One refill as it was written down before anybody was asked, unless it is not wanted."""

    is_wanted: bool = True

    refill_id: str
    wallet_id: str
    amount_cents: int
    customer: str
    payment_ref: str | None = None


class Charge(Outcome):
    """What the provider answered; `unknown` where it kept silent to the last."""

    state: Literal["paid", "declined", "unknown"]
    provider_ref: str
    reason: str | None = None


class Look(Subject):
    """The `nth` look for what became of a refill whose run was ended from outside, looked for `since` then."""

    since: datetime
    nth: int = 1


class Found(Outcome):
    """What is known of it: `asked` where a charge may still be on its way, `none` where no money was taken.

    Without an order nothing was ever written down.
    """

    nth: int = 1
    order: Order | None = None
    state: Literal["paid", "declined", "unknown", "asked", "none"]
    provider_ref: str = ""
    reason: str | None = None
    again_in_s: float = 0.0


class Settle(Subject):
    """A refill whose outcome is known."""

    refill_id: str
    wallet_id: str
    amount_cents: int
    state: Literal["paid", "declined"]
    provider_ref: str
    reason: str | None = None


class Credited(Outcome):
    """The wallet after the refill."""

    refill_id: str
    amount_cents: int
    balance_cents: int


class WalletActivities:
    """What the billing queue does; it alone may post to ledgers."""

    def __init__(
        self,
        control: Sessions[ControlSession],
        alarms: Sessions[AlarmsSession],
        payments: PaymentProvider,
        retries: Retries | None = None,
    ) -> None:
        self._control = control
        self._payments = payments
        self._alerts = Alerts(control, alarms)
        self._retries = retries or Retries()

    @activity.defn
    async def debit_usage(self, bill: Bill) -> Billed:
        """Debit every open month as far as its wallet goes. Repeating it takes nothing more.

        One that is refused or breaks is said to the platform's people, and the others go on.
        """
        total = Billed()
        failed: list[Dirty] = []
        after: tuple[Ulid, date] | None = None
        for _ in range(_PAGES_MAX):
            async with self._control() as session:
                page = await metering.billable(session, after, PAGE)
            if not page:
                break
            for each in page:
                try:
                    await self._debit(each, Ulid(bill.operation_id), total)
                except Exception as error:
                    # What comes back is tried again as a whole; the rest is this tenant's own trouble.
                    if isinstance(error, Unavailable) or comes_back(error):
                        raise
                    _log.error(
                        "a debit failed",
                        tenant_id=each.tenant_id,
                        month=str(each.month),
                        problem=repr(error)[:500],
                        exc_info=not isinstance(error, PlanebaseError),
                    )
                    failed.append(each)
                activity.heartbeat(each.tenant_id)
            after = (page[-1].tenant_id, page[-1].month)
        total.failed = len(failed)
        if failed:
            seen = _not_debited(failed)
            await self._alerts.raise_(None, seen, Ulid(bill.operation_id), bill.period)
        else:
            await self._alerts.end(None, _NOT_DEBITED_KEY, bill.period)
        return total

    async def _debit(self, each: Dirty, operation_id: Ulid, total: Billed) -> None:
        async with self._control.begin() as session:
            cents = await metering.bill(session, each.tenant_id, each.month, operation_id)
        total.debits += cents > 0
        total.debited_cents += cents

    @activity.defn
    async def request_refill(self, ask: Ask) -> Order:
        """Write down that money will be asked for, under the id that is the provider's key, once."""
        async with self._control.begin() as session:
            row = await wallets.get(session, Ulid(ask.wallet_id))
            if row is None:
                raise NotFound("there is no such wallet")
            await operations.require_wanted(session, Ulid(ask.operation_id))
            if ask.if_low and not await self._is_low(session, row.tenant_id):
                return _not_wanted(ask)
            amount_cents = ask.amount_cents if ask.amount_cents is not None else row.refill_amount_cents
            if not wallet.is_refill(amount_cents):
                words = f"a refill is of 1 to {wallet.REFILL_MAX_CENTS} cents"
                raise Invalid(words, (Fault("/amount_cents", "out_of_range", words),))
            operation_id = Ulid(ask.operation_id)
            refill = await refills.request(
                session, wallet.refill_id(operation_id), Ulid(ask.wallet_id), amount_cents, operation_id
            )
        return _order(ask, refill, ask.payment_ref)

    async def _is_low(self, session: ControlSession, tenant_id: Ulid) -> bool:
        (purse,) = await metering.purses(session, [tenant_id])
        return purse.unpaid_cents > 0 or wallet.is_low(purse.balance_cents, purse.threshold_cents)

    @activity.defn
    async def settle_earlier(self, ask: Ask) -> Outcome:
        """Find out what became of this wallet's refills that nobody had an answer to, before asking for more."""
        async with self._control() as session:
            own = wallet.refill_id(Ulid(ask.operation_id))
            open_ = await refills.unanswered(session, Ulid(ask.wallet_id), but=own)
        for refill in open_:
            try:
                found = await self._payments.find(refill.id)
            except OutcomeUnknown as error:
                raise self._again(error) from error
            if found is not None:
                await self._settle(refill, found.state, found.ref, found.reason)
            elif self._arrives_in_s(refill.created_at) <= 0:
                await self._settle(refill, "declined", "", _NEVER_ARRIVED)
            activity.heartbeat(refill.id)
        return Outcome()

    @activity.defn
    async def charge(self, order: Order) -> Charge:
        """Take the money once; after a silence the provider is asked by key before it is asked again."""
        attempt = activity.info().attempt
        async with self._control.begin() as session:
            # The run that clears up behind a terminated one takes what the provider never heard for not made.
            await operations.require_wanted(session, Ulid(order.operation_id))
        try:
            found = None if attempt == 1 else await self._payments.find(order.refill_id)
            if found is None:
                words = order.payment_ref or f"Planebase wallet {order.wallet_id}"
                found = await self._payments.charge(
                    order.refill_id, order.customer, order.amount_cents, words
                )
        except PaymentRefused as error:
            if attempt == 1:  # nothing was asked before, so nothing was taken
                return Charge(state="declined", provider_ref="", reason=error.detail)
            return self._unknown(error)
        except OutcomeUnknown as error:
            return self._unknown(error)
        return Charge(state=found.state, provider_ref=found.ref, reason=found.reason)

    @activity.defn
    async def find_charge(self, look: Look) -> Found:
        """Ask the provider what became of this operation's own refill, and charge nothing.

        What it has never heard was never made once it could not arrive any more: then the refill is settled so.
        """
        async with self._control() as session:
            refill = await refills.maybe(session, wallet.refill_id(Ulid(look.operation_id)))
        if refill is None:
            return Found(state="none")
        order = _order(look, refill)
        if refill.reason == _NEVER_ARRIVED:
            return Found(order=order, state="none")
        try:
            found = await self._payments.find(refill.id)
        except (OutcomeUnknown, PaymentRefused) as error:
            unknown = self._unknown(error)
            return Found(order=order, state=unknown.state, reason=unknown.reason)
        if found is not None:
            return Found(order=order, state=found.state, provider_ref=found.ref, reason=found.reason)
        # No charge begins behind a termination, but one that had begun has its time from then on.
        left_s = self._arrives_in_s(look.since)
        if left_s > 0:
            pause_s = min(left_s, self._pause_s(look.nth))
            return Found(nth=look.nth, order=order, state="asked", again_in_s=pause_s)
        await self._settle(refill, "declined", "", _NEVER_ARRIVED)
        return Found(order=order, state="none")

    def _arrives_in_s(self, since: datetime) -> float:
        return self._retries.arrives_within_s - (datetime.now(UTC) - since).total_seconds()

    def _pause_s(self, nth: int) -> float:
        return min(self._retries.longest_s, self._retries.first_s * 2.0 ** min(nth - 1, 20))

    @activity.defn
    async def void_refill(self, ask: Ask) -> None:
        """Note that a refill was given up before anybody was asked for money. Repeating it changes nothing."""
        async with self._control.begin() as session:
            own = wallet.refill_id(Ulid(ask.operation_id))
            await refills.end(session, own, "declined", "", _NEVER_ARRIVED)

    def _unknown(self, error: Exception) -> Charge:
        if activity.info().attempt < self._retries.attempts:
            raise self._again(error) from error
        return Charge(state="unknown", provider_ref="", reason=str(error)[:200])

    def _again(self, error: Exception) -> ApplicationError:
        attempt = activity.info().attempt
        return ApplicationError(
            f"nobody knows whether the payment was made: {error}",
            type="payment_unknown",
            non_retryable=attempt >= self._retries.attempts,
            next_retry_delay=timedelta(seconds=self._pause_s(attempt)),
        )

    @activity.defn
    async def settle_refill(self, settle: Settle) -> Credited:
        """Credit a paid refill, or note a declined one and tell people. Repeating it changes nothing."""
        async with self._control() as session:
            refill = await refills.get(session, Ulid(settle.refill_id))
        balance_cents = await self._settle(refill, settle.state, settle.provider_ref, settle.reason)
        return Credited(refill_id=refill.id, amount_cents=refill.amount_cents, balance_cents=balance_cents)

    async def _settle(
        self, refill: Refill, state: Literal["paid", "declined"], ref: str, reason: str | None
    ) -> int:
        now = datetime.now(UTC)
        async with self._control.begin() as session:
            balance_cents = await ledger.lock(session, refill.wallet_id)
            await refills.end(session, refill.id, state, ref, reason)
            if state == "paid":
                entry = Entry("topup", refill.amount_cents, wallet.refill_ref(refill.id))
                posted = await ledger.post(session, refill.wallet_id, entry, refill.operation_id)
                if posted.is_new:
                    balance_cents = posted.balance_cents
                    await outbox.add(session, "activity", new(), now, _event(refill))
        operation_id = refill.operation_id or refill.id
        if state == "paid":
            await self._alerts.end(refill.tenant_id, alert.refill_key(refill.wallet_id), now)
        elif reason != _NEVER_ARRIVED:
            seen = alert.refill_failed(refill.wallet_id, reason or "declined", refill.amount_cents)
            await self._alerts.raise_(refill.tenant_id, seen, operation_id, refill.created_at)
        return balance_cents

    @activity.defn
    async def report_unknown(self, order: Order) -> Outcome:
        """Tell people that nobody knows what became of a refill; it stays open and is asked after next time."""
        seen = alert.refill_failed(Ulid(order.wallet_id), "outcome_unknown", order.amount_cents)
        tenant_id = None if order.tenant_id is None else Ulid(order.tenant_id)
        async with self._control() as session:
            refill = await refills.get(session, Ulid(order.refill_id))
        await self._alerts.raise_(tenant_id, seen, Ulid(order.operation_id), refill.created_at)
        return Outcome()


def _not_debited(failed: Sequence[Dirty]) -> Observation:
    named = [f"{each.tenant_id} {each.month:%Y-%m}" for each in failed[:_NAMED_MAX]]
    context = {"check": "every debit is made", "failed": len(failed), "which": named}
    return Observation("INVARIANT_BROKEN", "critical", _NOT_DEBITED_KEY, context)


def _order(given: Subject, refill: Refill, payment_ref: str | None = None) -> Order:
    return Order(
        operation_id=given.operation_id,
        tenant_id=refill.tenant_id,
        refill_id=refill.id,
        wallet_id=refill.wallet_id,
        amount_cents=refill.amount_cents,
        customer=refill.customer,
        payment_ref=payment_ref,
    )


def _not_wanted(ask: Ask) -> Order:
    return Order(
        operation_id=ask.operation_id,
        tenant_id=ask.tenant_id,
        is_wanted=False,
        refill_id="",
        wallet_id=ask.wallet_id,
        amount_cents=0,
        customer="",
    )


def _event(refill: Refill) -> dict[str, object]:
    return {
        "tenant_id": refill.tenant_id,
        "resource_type": "wallet",
        "resource_id": refill.wallet_id,
        "action": "WALLET_TOPUP",
        "operation_id": refill.operation_id,
        "diff_json": {"amount_cents": refill.amount_cents, "refill_id": refill.id},
    }
