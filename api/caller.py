"""Who calls the Data API: a token and a base become claims, from memory wherever nothing has changed."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from api.edge import Trace
from core import ids, token
from core.errors import Forbidden, NotFound, PlanebaseError, Unauthenticated, Unavailable
from db.control.gateway import HEARTBEAT_S, Gateway, Grant
from db.data.homes import Claims, Home, Homes

READ = "records:read"
WRITE = "records:write"
MAX_KNOWN = 50_000
_REFUSAL_S = 1.0
"""How long a refusal is remembered: a token or base that is made right after must not wait."""
_MAX_AGE_S = 300.0
"""How long anything is: should a notification ever be lost."""
_MAX_ASKING = 200


@dataclass(frozen=True, slots=True)
class Pass:
    """What a token may at a base: read, write, and as whom; `expires_at` is the wall clock's."""

    claims: Claims
    home: Home
    may_read: bool
    may_write: bool
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Known:
    outcome: Pass | Callable[[], PlanebaseError]
    until: float
    tenant_id: str | None
    token_id: str | None


class Callers:
    """The tokens in use. While the Control DB tells us of changes, a revoke bites at once; once it has been silent
    for `stale_auth_s`, nobody is believed any more."""

    def __init__(self, gateway: Gateway, homes: Homes, *, stale_auth_s: float) -> None:
        self._gateway = gateway
        self._homes = homes
        self._patience_s = stale_auth_s + 2 * HEARTBEAT_S
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Future[_Known]] = {}
        self._heard_at = -self._patience_s
        self._epoch = 0
        self.first_heard = asyncio.Event()

    async def authorize(self, secret: str, base_id: str, trace: Trace) -> Pass:
        """Return what the bearer of `secret` may at the base; raises Unauthenticated, Forbidden, NotFound.

        The trace learns whose token it is, also where it may nothing.
        """
        key = (token.digest(secret), base_id)
        known = self._known.get(key)
        if known is None or not self.is_fresh:
            known = await self._ask(key, secret)
        elif known.until < time.monotonic():
            try:
                known = await self._ask(key, secret)
            except Unavailable:
                if not isinstance(known.outcome, Pass):
                    raise
        else:
            self._known.move_to_end(key)
        trace.tenant_id, trace.token_id = known.tenant_id, known.token_id
        if not isinstance(known.outcome, Pass):
            raise known.outcome()
        if known.outcome.expires_at <= time.time():
            raise _unauthenticated()
        return known.outcome

    @property
    def is_fresh(self) -> bool:
        """Whether the Control DB would have told us by now of what has changed."""
        return time.monotonic() - self._heard_at <= self._patience_s

    def told(self, _what: str) -> None:
        """Forget everything: something that some answer was made of has changed."""
        self._epoch += 1
        self._known.clear()

    def heard(self) -> None:
        """Note that the Control DB tells us of changes."""
        self._heard_at = time.monotonic()
        self.first_heard.set()

    async def renew(self, secret: str, base_id: str, stale: Pass, trace: Trace) -> Pass:
        """Return a pass that was made after `stale`, whose route proved to be old."""
        key = (token.digest(secret), base_id)
        known = self._known.get(key)
        if known is not None and known.outcome is stale:
            del self._known[key]
        return await self.authorize(secret, base_id, trace)

    async def _ask(self, key: tuple[str, str], secret: str) -> _Known:
        if not token.is_well_formed(secret):
            raise _unauthenticated()
        asking = self._asking.get(key)
        if asking is None:
            if len(self._asking) >= _MAX_ASKING:
                raise Unavailable("too many tokens are being looked up", code="overloaded")
            asking = self._asking[key] = asyncio.ensure_future(self._answer(key))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    async def _answer(self, key: tuple[str, str]) -> _Known:
        epoch = self._epoch
        grant = await self._gateway.authenticate(*key)
        outcome = self._judged(grant)
        until = time.monotonic() + (_MAX_AGE_S if isinstance(outcome, Pass) else _REFUSAL_S)
        tenant_id, token_id = (None, None) if grant is None else (grant.tenant_id, grant.token_id)
        found = _Known(outcome, until, tenant_id, token_id)
        # What was told while we asked may be newer than the answer.
        if epoch == self._epoch:
            self._known[key] = found
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return found

    def _judged(self, grant: Grant | None) -> Pass | Callable[[], PlanebaseError]:
        if grant is None:
            return _unauthenticated
        refusal = _refusal(grant)
        if refusal is not None:
            return refusal
        # Another's base, one that is not there, and one whose workspace the token's maker has left: all the same.
        reach = grant.reach
        if reach is None:
            return _no_base
        claims = Claims(
            grant.tenant_id,
            reach.workspace_id,
            reach.base_id,
            reach.role,
            reach.generation,
            grant.token_id,
            grant.actor_id,
        )
        return Pass(
            claims,
            self._homes.at(reach.address),
            READ in grant.scopes,
            WRITE in grant.scopes and reach.role != "viewer",
            grant.expires_at if grant.expires_at is not None else float("inf"),
        )


def _refusal(grant: Grant) -> Callable[[], PlanebaseError] | None:
    if grant.tenant_status == "suspended":
        return lambda: Forbidden("the tenant is suspended", code="tenant_suspended")
    if grant.tenant_status == "provisioning":
        return lambda: Unavailable("the tenant is being made", code="tenant_provisioning", retry_after_s=2)
    if grant.tenant_status != "active":
        return _unauthenticated
    if grant.reach is not None and grant.reach.placement_state in ("provisioning", "closed"):
        return lambda: Unavailable("the tenant's database is not open", code="tenant_not_open")
    return None


def _unauthenticated() -> PlanebaseError:
    return Unauthenticated(
        "a valid API token is needed: Authorization: Bearer pb_…",
        headers={"WWW-Authenticate": 'Bearer realm="planebase", error="invalid_token"'},
    )


def _no_base() -> PlanebaseError:
    return NotFound("there is no such base")


def bearer(authorization: bytes | None) -> str:
    """Return the token in an Authorization header; raises Unauthenticated where there is none."""
    scheme, _, secret = (authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer" or not secret.isascii():
        raise Unauthenticated(
            "an API token is needed: Authorization: Bearer pb_…",
            headers={"WWW-Authenticate": 'Bearer realm="planebase"'},
        )
    return secret.strip().decode()


def path_id(text: str, what: str) -> str:
    """Return an id out of a path; another spelling is refused like an id that does not exist."""
    if not ids.is_ulid(text):
        raise NotFound(f"there is no such {what}")
    return text
