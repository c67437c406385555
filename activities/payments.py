"""The payment provider: what we ask of one, and the one that speaks HTTP."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx
from pydantic import SecretStr

from core.errors import PlanebaseError

_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Charged:
    """The provider's final answer: the same for the same key, for ever."""

    state: Literal["paid", "declined"]
    ref: str
    reason: str | None = None


class OutcomeUnknown(Exception):
    """No answer, or none that says whether money moved: ask by key before anything else."""


class PaymentRefused(PlanebaseError):
    """The provider does not take the request itself; asking again does not help."""

    code = "payment_refused"
    status = 502


class PaymentProvider(Protocol):
    """Takes money once per key, and tells what came of a key."""

    async def charge(self, key: str, customer: str, amount_cents: int, description: str) -> Charged:
        """Charge once per `key`; raises OutcomeUnknown and PaymentRefused."""

    async def find(self, key: str) -> Charged | None:
        """Return what came of `key`, or None when the provider never heard it; raises OutcomeUnknown."""


class HttpPayments:
    """A provider with `POST /charges` under an Idempotency-Key and `GET /charges?idempotency_key=`."""

    def __init__(self, url: str, key: SecretStr, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))

    async def charge(self, key: str, customer: str, amount_cents: int, description: str) -> Charged:
        """Charge once per `key`; raises OutcomeUnknown and PaymentRefused."""
        body = {"customer": customer, "amount_cents": amount_cents, "description": description}
        answer = await self._call("POST", headers={"Idempotency-Key": key}, json=body)
        if answer.status_code == 402:
            found = _json(answer)
            reason = str(found.get("error", {}).get("code", "declined"))[:100]
            return Charged("declined", str(found.get("charge", {}).get("id", "")), reason)
        return _charged(_json(answer))

    async def find(self, key: str) -> Charged | None:
        """Return what came of `key`, or None when the provider never heard it; raises OutcomeUnknown."""
        answer = await self._call("GET", params={"idempotency_key": key})
        charges = _json(answer).get("charges")
        if not isinstance(charges, list):
            raise OutcomeUnknown("the provider's answer holds no charges")
        return _charged(charges[0]) if charges else None

    async def _call(
        self, method: str, *, headers: dict[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._key.get_secret_value()}", **(headers or {})}
        try:
            async with httpx.AsyncClient(timeout=self._timeout, trust_env=False) as client:
                answer = await client.request(method, f"{self._url}/charges", headers=headers, **rest)
        except httpx.HTTPError as error:
            raise OutcomeUnknown(f"{type(error).__name__} from the payment provider") from error
        status = answer.status_code
        if status == 429 or status >= 500:
            raise OutcomeUnknown(f"the payment provider answered {status}")
        if status >= 300 and status != 402:
            raise PaymentRefused(f"the payment provider refuses the request with {status}")
        return answer


def _charged(charge: Any) -> Charged:
    match charge:
        case {"id": str(ref), "status": "paid"}:
            return Charged("paid", ref)
        case {"id": str(ref), "status": "declined"}:
            return Charged("declined", ref, str(charge.get("reason") or "declined")[:100])
    raise OutcomeUnknown("the provider's answer is no charge that we can read")


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as error:
        raise OutcomeUnknown("the provider's answer is not JSON") from error
    if not isinstance(found, dict):
        raise OutcomeUnknown("the provider's answer is no object")
    return found
