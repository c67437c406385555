"""One request that names a base and none of its tables: who calls, and the call that it becomes."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from api.caller import Pass, bearer
from api.data.requests import MAX_REPEATS, RecordRequest
from core.errors import BadRequest, Forbidden, NotFound, StaleRoute, StaleSchema, Unavailable
from core.ids import is_ulid
from db.data.catalog import Base
from db.data.homes import Claims, Home

T = TypeVar("T")
Act = Callable[[Home, Claims, Base], Awaitable[T]]
_NO_BASE = "0" * 26
_MOVING_S = 0.05


class BaseRequest(RecordRequest):
    """A request whose path names a base. `allowed` is what its caller may do, once `enter` has returned."""

    allowed: Pass

    async def enter(self) -> None:
        """Find out what the caller may do here; whoever may not read is refused. Again, it looks again."""
        secret = bearer(self.brought.get(b"authorization"))
        base_id = self.base_id if is_ulid(self.base_id) else _NO_BASE
        self.allowed = await self.parts.callers.authorize(secret, base_id, self.trace)
        self._may_read()

    async def done(self, act: Act[T]) -> T:
        """Return what `act` returns; where route or schema were stale, read them again and repeat, a few times."""
        callers, catalog = self.parts.callers, self.parts.catalog
        for attempt in range(MAX_REPEATS):
            home, claims = self.allowed.home, self.allowed.claims
            base: Base | None = None
            try:
                base = await catalog.base(home, claims)
                return await act(home, claims, base)
            except StaleSchema:
                if base is not None:
                    catalog.forget(claims, base)
            except (BadRequest, NotFound):
                # Refused by what we know of the base: that may be old.
                if base is None or not await catalog.is_old(home, claims, base):
                    raise
            except StaleRoute:
                await anyio.sleep(attempt * _MOVING_S)
                secret = bearer(self.brought.get(b"authorization"))
                self.allowed = await callers.renew(secret, self.base_id, self.allowed, self.trace)
                self._may_read()
        raise Unavailable("the tenant or its schema is just changing", code="changing", retry_after_s=1)

    def _may_read(self) -> None:
        claims = self.allowed.claims
        self.trace.base_id, self.trace.actor_id = claims.base_id, claims.actor_id
        if not self.allowed.may_read:
            raise Forbidden("this token lacks the scope records:read", code="missing_scope")


class BaseRoute(APIRoute):
    """A route that hands its function the request as it is; FastAPI describes it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what FastAPI's router calls."""

        async def handle(plain: Request) -> Response:
            request = BaseRequest(plain.scope, plain.receive)
            request.bind(plain.app.state.parts, plain.path_params["base_id"], "", None)
            response: Response = await self.endpoint(request)
            return response

        return handle
