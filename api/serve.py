"""Serving one API until a signal comes, and one log line per request."""

import contextlib
import socket
import sys
from collections.abc import Callable

import structlog
import uvicorn
from starlette.types import ASGIApp

from api.edge import Trace
from api.protocol import Protocol
from core.telemetry import configure_logging, serve_metrics

_DRAIN_S = 10
_KEEP_ALIVE_S = 30
_BACKLOG = 1_024
_NOT_STARTED = 3

_log = structlog.get_logger("api.request")


class _Server(uvicorn.Server):
    """uvicorn's, which first lets those go who only wait."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; requests under way are finished first."""
        if self._drain is not None:
            self._drain()
        await super().shutdown(sockets)


def serve(
    app: ASGIApp,
    process: str,
    host: str,
    port: int,
    metrics_port: int | None,
    *,
    drain: Callable[[], None] | None = None,
) -> None:
    """Serve `app` until SIGTERM or SIGINT; requests under way are finished first, after `drain` was called."""
    configure_logging(process)
    serve_metrics(metrics_port)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    server = _Server(config, drain)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_NOT_STARTED)


def log_request(trace: Trace) -> None:
    """Write the one line of a request; ids and figures only, nothing of what was sent."""
    _log.info(
        "request",
        request_id=trace.operation_id,
        method=trace.method,
        route=trace.route,
        status=trace.status,
        latency_ms=round(trace.latency_ms, 2),
        response_bytes=trace.response_bytes,
        tenant_id=trace.tenant_id,
        actor_id=trace.actor_id,
        ip=trace.ip,
    )
