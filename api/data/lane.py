"""The record routes' fast lane: straight to their functions, past what the framework does for every request."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.data.requests import Parts, RecordRequest
from core.errors import PlanebaseError

_ONE = "/{record_id}"


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
        self._routes = {
            (method, route.path.endswith(_ONE)): route
            for route in routes
            if isinstance(route, RecordRoute)
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
        request = RecordRequest(scope, receive)
        request.bind(self._parts, base_id, table_id, record_id)
        request.trace.route = route.path
        try:
            response: Response = await route.endpoint(request)
        except PlanebaseError as error:
            response = problems.answer(error, request.trace.operation_id)
        await response(scope, receive, send)
