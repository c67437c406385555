"""The Control API: private, for the portal's backend."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from api import once, problems
from api.access_log import AccessRecords
from api.control import (
    activity,
    alerts,
    bases,
    channels,
    members,
    operations,
    plans,
    schemas,
    tenants,
    tokens,
    usage,
    users,
    wallets,
    workspaces,
)
from api.control.caller import Gate, Parts
from api.edge import Edge, Trace
from api.operations import runs_url
from api.paging import Cursors
from api.runs import Runs
from api.sealing import Sealer
from api.serve import log_request
from api.strict import no_repeated_keys, only_known_parameters
from core.settings import ControlApiSettings
from db.activity.access_log import AccessLog
from db.engines import engine
from db.sessions import ActivitySession, AlarmsSession, ControlSession, sessions

_DESCRIPTION = """The portal's backend builds on this: tenants, people, bases and their schemas, tokens, money,
alerts. Long work answers 202 with an operation. The portal's token is the bearer; `Planebase-Acting-User`
names the user it acts for, whose role then decides; without it the portal acts for itself."""


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


def create_app(settings: ControlApiSettings) -> FastAPI:
    """Return the app; nothing connects before the first request that needs it."""
    engines = [
        engine(dsn, pool_size=settings.pool_size)
        for dsn in (settings.control_dsn, settings.activity_dsn, settings.alarms_dsn)
    ]

    access_log = AccessLog(settings.activity_dsn.get_secret_value(), name="planebase-control-api")
    access_records = AccessRecords(access_log)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await access_records.start()
        yield
        await access_records.stop()
        for each in engines:
            await each.dispose()

    app = FastAPI(
        title="Planebase Control API",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        dependencies=[Depends(only_known_parameters), Depends(no_repeated_keys)],
    )
    app.state.parts = Parts(
        control=sessions(engines[0], ControlSession),
        activity=sessions(engines[1], ActivitySession),
        alarms=sessions(engines[2], AlarmsSession),
        sealer=Sealer(settings.secret_key),
        cursors=Cursors(settings.secret_key.get_secret_value()),
        runs=Runs(settings.temporal_address, settings.temporal_namespace),
        runs_url=runs_url(settings.temporal_ui, settings.temporal_namespace),
        webhook_allow_http=settings.webhook_allow_http,
    )
    for topic in (
        tenants,
        workspaces,
        members,
        users,
        bases,
        schemas,
        tokens,
        plans,
        usage,
        wallets,
        alerts,
        channels,
        activity,
        operations,
    ):
        app.include_router(topic.router)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> Health:
        """Tell that the process answers; databases may be away."""
        return Health()

    problems.install(app)
    once.install(app)
    app.add_middleware(Gate, portal_token=settings.portal_token.get_secret_value())

    def ended(trace: Trace) -> None:
        log_request(trace)
        access_records.note(trace)

    app.add_middleware(Edge, max_body_bytes=settings.max_body_bytes, on_end=ended)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    built = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = problems.add_schema(built())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
