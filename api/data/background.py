"""What a request leaves behind without waiting for it: its access record, its token's last use, its count."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import structlog

from api.edge import Trace
from core import ids
from db.activity.access_log import AccessLog
from db.control.gateway import Gateway

MAX_RECORDS = 20_000
MAX_BATCH = 500
MAX_TENANTS = 100_000
_LOG_EVERY_S = 0.5
_TOUCH_EVERY_S = 5.0
_FLUSH_TIMEOUT_S = 5.0
_MINUTE_MS = 60_000

_log = structlog.get_logger("data_api")


class Background:
    """Bounded buffers and the loops that empty them. A database that is away costs records here, never a request."""

    def __init__(self, gateway: Gateway, access_log: AccessLog) -> None:
        self._gateway = gateway
        self._access_log = access_log
        self._records: deque[Trace] = deque()
        self._used: dict[str, int] = {}
        self._counts: dict[tuple[str, int], int] = {}
        self._events: list[dict[str, Any]] = []
        self._process_id = ids.new()
        self._flushes = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.dropped = 0
        """Access records that found the buffer full, since the start."""

    def note(self, trace: Trace) -> None:
        """Take note of a request that has ended."""
        if len(self._records) >= MAX_RECORDS:
            self.dropped += 1
        else:
            self._records.append(trace)
        if trace.tenant_id is None or trace.token_id is None or trace.status >= 500:
            return
        self._used[trace.token_id] = trace.occurred_at_ms
        key = (trace.tenant_id, trace.occurred_at_ms // _MINUTE_MS)
        self._counts[key] = self._counts.get(key, 0) + 1

    def start(self) -> None:
        """Start the loops."""
        self._tasks = [
            asyncio.create_task(_every(_LOG_EVERY_S, self._flush_log, "access log")),
            asyncio.create_task(_every(_TOUCH_EVERY_S, self._flush_control, "token use and usage")),
        ]

    async def stop(self) -> None:
        """End the loops and hand over what is left, within a bound."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for flush, what in ((self._flush_log, "access log"), (self._flush_all, "token use and usage")):
            try:
                await asyncio.wait_for(flush(), _FLUSH_TIMEOUT_S)
            except Exception as error:
                _log.warning("lost at the end", what=what, error=repr(error))

    async def _flush_log(self) -> None:
        while self._records:
            batch = [self._records.popleft() for _ in range(min(MAX_BATCH, len(self._records)))]
            try:
                await self._access_log.add([_row(trace) for trace in batch])
            except BaseException:
                # The ids make a batch that was written after all harmless.
                room = MAX_RECORDS - len(self._records)
                self.dropped += max(0, len(batch) - room)
                self._records.extendleft(reversed(batch[-room:] if room > 0 else []))
                raise

    async def _flush_control(self) -> None:
        await self._touch()
        await self._add_usage(before=ids.now_ms() // _MINUTE_MS)

    async def _flush_all(self) -> None:
        await self._touch()
        await self._add_usage(before=None)

    async def _touch(self) -> None:
        used, self._used = self._used, {}
        if used:
            try:
                await self._gateway.touch_tokens({token_id: _iso(at) for token_id, at in used.items()})
            except BaseException:
                if len(self._used) < MAX_TENANTS:
                    self._used = used | self._used
                raise

    async def _add_usage(self, before: int | None) -> None:
        """Turn minutes that are over into events, whose ids stay theirs until they were taken."""
        for key in [key for key in self._counts if before is None or key[1] < before]:
            tenant_id, minute = key
            count = self._counts.pop(key)
            if len(self._events) >= MAX_TENANTS:
                _log.error(
                    "usage lost: the Control DB was away for too long", tenant_id=tenant_id, calls=count
                )
                continue
            self._flushes += 1
            self._events.append(
                {
                    "id": ids.derived(minute * _MINUTE_MS, self._process_id, tenant_id, str(self._flushes)),
                    "tenant_id": tenant_id,
                    "meter": "api_calls",
                    "quantity": count,
                    "window_start": _iso(minute * _MINUTE_MS),
                }
            )
        while self._events:
            batch = self._events[:MAX_BATCH]
            await self._gateway.add_usage(batch)
            del self._events[: len(batch)]


async def _every(interval_s: float, work: Callable[[], Awaitable[None]], what: str) -> None:
    is_failing = False
    while True:
        await asyncio.sleep(interval_s)
        try:
            await work()
        except Exception as error:
            if not is_failing:
                _log.warning("cannot be written now; it waits", what=what, error=repr(error))
            is_failing = True
        else:
            is_failing = False


def _row(trace: Trace) -> str:
    # By hand, since there is one for every request: what is not ours is quoted, the rest are ids and figures.
    operation_id = trace.operation_id
    return (
        f'{{"id":"{operation_id}","occurred_at":"{_iso(trace.occurred_at_ms)}","tenant_id":{_quoted(trace.tenant_id)},'
        f'"token_id":{_quoted(trace.token_id)},"base_id":{_quoted(trace.base_id)},"route":{_quoted(trace.route)},'
        f'"method":{_quoted(trace.method)},"status":{trace.status},"latency_ms":{trace.latency_ms:.3f},'
        f'"bytes":{trace.response_bytes},"ip":{_quoted(trace.ip)},"operation_id":"{operation_id}"}}'
    )


_quoted = lru_cache(4_096)(json.dumps)


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat()
