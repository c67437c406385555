"""Logs as JSON lines and metrics for Prometheus; entry points set both up once."""

import logging
import sys
from typing import Any

import structlog
from prometheus_client import start_http_server

_QUIET = ("httpx", "httpcore", "asyncio", "alembic", "sqlalchemy", "temporalio.worker")
_SAID_BY_US = ("temporalio.activity",)  # the interceptor writes the line of each attempt


def configure_logging(process: str, level: str = "INFO") -> None:
    """Write every log line, ours and the libraries', as one JSON object on standard output."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _named(process),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SAID_BY_US:
        logging.getLogger(name).setLevel(logging.ERROR)


def serve_metrics(port: int | None, host: str = "0.0.0.0") -> None:  # noqa: S104  (scraped from outside)
    """Offer this process's metrics to Prometheus, where a port is set."""
    if port is not None:
        start_http_server(port, addr=host)


def _named(process: str) -> Any:
    def add(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        return {"process": process, **event}

    return add
