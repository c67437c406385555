"""The public Data API: records of the bases that a token names, and nothing else."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from api import problems
from api.access_log import AccessRecords
from api.caller import Callers
from api.data import base_openapi, changes, describe, history, queries, reads, trash, writes
from api.data.background import Background
from api.data.lane import Lane
from api.data.requests import Parts
from api.data.watches import Watches
from api.edge import Edge
from api.paging import Cursors
from core.settings import DataApiSettings
from db.activity.access_log import AccessLog
from db.control.gateway import Gateway
from db.data.catalog import Catalog
from db.data.homes import Homes

_DESCRIPTION = """Create, read, update and delete the records of a base's tables. A token names what it reaches;
what it does not reach answers like what does not exist. Every change takes an `Idempotency-Key`."""


_ROUTERS = (
    reads.router,
    queries.router,
    writes.router,
    changes.router,
    base_openapi.router,
    history.router,
    trash.router,
)
_FIRST_HEARD_S = 3.0
_GC_THRESHOLD = (50_000, 20, 20)


class Health(BaseModel):
    """The process answers; `control_db` tells whether it hears of changes to tokens at once."""

    status: str = "ok"
    control_db: str


class DataApi(FastAPI):
    """The app, with its edge and its fast lane around all that FastAPI does."""

    def __init__(self, settings: DataApiSettings) -> None:
        super().__init__(
            title="Planebase Data API",
            version="1",
            description=_DESCRIPTION,
            lifespan=_lifespan,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
        )
        self.gateway = Gateway(settings.control_dsn.get_secret_value())
        self.homes = Homes(
            settings.data_user,
            settings.data_password.get_secret_value(),
            pool_max_size=settings.pool_max_size,
        )
        self.callers = Callers(self.gateway, self.homes, stale_auth_s=settings.stale_auth_s)
        access_log = AccessLog(settings.activity_dsn.get_secret_value(), name="planebase-data-api")
        self.background = Background(self.gateway, AccessRecords(access_log))
        parts = Parts(self.callers, Catalog(), _cursors(settings))
        self.state.parts = parts
        self.state.watches = self.watches = Watches()
        self.state.documents = base_openapi.Documents()
        for router in _ROUTERS:
            self.include_router(router)
        self.add_api_route("/healthz", self._healthz, methods=["GET"], tags=["health"])
        problems.install(self)
        lane = Lane(super().__call__, [route for router in _ROUTERS for route in router.routes], parts)
        self._edge = Edge(lane, max_body_bytes=settings.max_body_bytes, on_end=self.background.note)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope["app"] = self
        await self._edge(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the description, with the schemas that the routes refer to."""
        if self.openapi_schema is None:
            self.openapi_schema = describe.complete(problems.add_schema(super().openapi()))
        return self.openapi_schema

    async def _healthz(self) -> Health:
        """Tell that the process answers; databases may be away."""
        return Health(control_db="heard" if self.callers.is_fresh else "silent")


def create_app(settings: DataApiSettings) -> FastAPI:
    """Return the app; nothing connects before its lifespan begins."""
    return DataApi(settings)


def _cursors(settings: DataApiSettings) -> Cursors:
    previous = settings.cursor_secret_previous
    return Cursors(
        settings.cursor_secret.get_secret_value(),
        previous=None if previous is None else previous.get_secret_value(),
        max_age_s=settings.cursor_max_age_s,
    )


@contextlib.asynccontextmanager
async def _lifespan(app: DataApi) -> AsyncIterator[None]:
    await app.gateway.open()
    listening = asyncio.create_task(app.gateway.listen(app.callers.told, app.callers.heard))
    await app.background.start()
    with contextlib.suppress(TimeoutError):  # without the Control DB we start all the same, and answer 503
        await asyncio.wait_for(app.callers.first_heard.wait(), _FIRST_HEARD_S)
    # What is here now stays: the collector need not walk it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    try:
        yield
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await app.watches.close()
        await app.background.stop()
        await asyncio.gather(app.homes.close(), app.gateway.close())
