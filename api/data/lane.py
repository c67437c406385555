"""The record routes' fast lane: straight to their functions, past what the framework does for every request."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi.routing import APIRoute
from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.data.requests import Parts, RecordRequest
from api.edge import Trace
from core.errors import PlanebaseError

MAX_UNDER_WAY = 512
MAX_UNDER_WAY_AT_ONE = 96
"""Who comes when so many calls are not answered yet, of all or at one base, is told at once: before anything else is
looked at, since to refuse must cost much less than to serve, and a flood at one base leaves room for the others."""
_refused = Counter("planebase_requests_refused_total", "Requests that found too many others under way")
_REFUSED = [(b"content-type", problems.MEDIA_TYPE.encode()), (b"retry-after", b"1")]
_MANY, _ONE = "/records", "/records/{record_id}"


class RecordRoute(APIRoute):
    """A route that hands its function the request as it is; FastAPI describes it, and can serve it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what FastAPI's router calls where no lane stands before it."""

        async def handle(plain: Request) -> Response:
            request = RecordRequest(plain.scope, plain.receive)
            path = plain.path_params
            request.bind(plain.app.state.parts, path["base_id"], path["table_id"], path.get("record_id"))
            response: Response = await self.endpoint(request)
            return response

        return handle


class Lane:
    """ASGI: serves the record routes itself and leaves everything else to `app`.

    Measured: of the time that a small answer costs in this process, routing, exit stacks and the middleware that
    the framework puts around every route are more than half.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._in_all = 0
        self._under_way: dict[str, int] = {}
        """By base."""
        self._routes = {
            (method, route.path.endswith(_ONE)): route
            for route in routes
            if isinstance(route, RecordRoute) and route.path.endswith((_MANY, _ONE))
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or pass it on."""
        route = None
        if scope["type"] == "http":
            match scope["path"].split("/"):
                case ["", "bases", base_id, "tables", table_id, "records"]:
                    route, record_id = self._routes.get((scope["method"], False)), None
                case ["", "bases", base_id, "tables", table_id, "records", record_id]:
                    route = self._routes.get((scope["method"], True))
        if route is None:
            await self._app(scope, receive, send)
            return
        trace: Trace = scope["trace"]
        trace.route = route.path
        here = self._under_way.get(base_id, 0)
        if here >= MAX_UNDER_WAY_AT_ONE or self._in_all >= MAX_UNDER_WAY:
            await self._refuse(trace, send)
            return
        request = RecordRequest(scope, receive)
        request.bind(self._parts, base_id, table_id, record_id)
        self._under_way[base_id] = here + 1
        self._in_all += 1
        try:
            response: Response = await route.endpoint(request)
        except PlanebaseError as error:
            response = problems.answer(error, trace.operation_id)
        finally:
            self._in_all -= 1
            if self._under_way[base_id] == 1:
                del self._under_way[base_id]
            else:
                self._under_way[base_id] -= 1
        await response(scope, receive, send)

    async def _refuse(self, trace: Trace, send: Send) -> None:
        _refused.inc()
        trace.is_recorded = False  # counted instead: a record of each would cost what is to be saved
        body = problems.problem(503, "overloaded", "Too many calls are under way", trace.operation_id)
        headers = [*_REFUSED, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})
