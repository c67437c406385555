"""The Admin API: for operators, every call on record."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api import once, problems
from api.admin import audit, login, platform, tenants, wallets
from api.admin.caller import Parts
from api.admin.trail import DESCRIPTION_PATH, Trail
from api.edge import Edge
from api.operations import runs_url
from api.paging import Cursors
from api.sealing import Sealer
from api.serve import log_request
from api.strict import no_repeated_keys, only_known_parameters
from core.audit import AdminAction
from core.settings import AdminApiSettings
from db.engines import engine
from db.sessions import AuditSession, ControlSession, sessions

_DESCRIPTION = """Support tooling. Log in with password and one-time code; the session's token is the bearer.
Every call, reads and refused ones included, is written to the audit before it is carried out."""
_TOPICS = (login, platform, tenants, wallets, audit)
_HASHES_AT_ONCE = 2


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


def endpoints() -> list[APIRoute]:
    """Return every endpoint that is on record; each is named after what it does, and no two alike."""
    found = [route for topic in _TOPICS for route in topic.router.routes if isinstance(route, APIRoute)]
    names = [AdminAction(route.name) for route in found]
    if len(set(names)) != len(names):
        raise RuntimeError(f"two endpoints have one name: {sorted(names)}")
    return found


def create_app(settings: AdminApiSettings) -> FastAPI:
    """Return the app; nothing connects before the first request that needs it."""
    engines = [
        engine(dsn, pool_size=settings.pool_size) for dsn in (settings.control_dsn, settings.audit_dsn)
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for each in engines:
            await each.dispose()

    app = FastAPI(
        title="Planebase Admin API",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=DESCRIPTION_PATH,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name.lower(),
        dependencies=[Depends(only_known_parameters), Depends(no_repeated_keys)],
    )
    parts = Parts(
        control=sessions(engines[0], ControlSession),
        audit=sessions(engines[1], AuditSession),
        sealer=Sealer(settings.secret_key),
        cursors=Cursors(settings.secret_key.get_secret_value()),
        runs_url=runs_url(settings.temporal_ui, settings.temporal_namespace),
        session_ttl_s=settings.session_ttl_s,
        hashing=asyncio.Semaphore(_HASHES_AT_ONCE),
    )
    app.state.parts = parts
    for topic in _TOPICS:
        app.include_router(topic.router)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> Health:
        """Tell that the process answers; databases may be away."""
        return Health()

    problems.install(app)
    once.install(app)
    app.add_middleware(Trail, endpoints=endpoints(), control=parts.control, audit_log=parts.audit)
    # What is too large is refused inside the trail, so that the attempt is on record.
    app.add_middleware(Edge, max_body_bytes=settings.max_body_bytes, on_end=log_request, looks_ahead=False)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    built = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = problems.add_schema(built())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
