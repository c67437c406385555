"""What a request leaves behind without waiting for it: its access record, its token's last use, its count."""

from typing import Any

import structlog

from api.access_log import AccessRecords, iso
from api.edge import Trace
from api.loops import Loop
from core import ids
from db.control.gateway import Gateway

MAX_BATCH = 500
MAX_TENANTS = 100_000
_TOUCH_EVERY_S = 5.0
_MINUTE_MS = 60_000

_log = structlog.get_logger("data_api")


class Background:
    """Bounded buffers and the loops that empty them. No request waits for a database that is away."""

    def __init__(self, gateway: Gateway, access_records: AccessRecords) -> None:
        self._gateway = gateway
        self._access_records = access_records
        self._used: dict[str, int] = {}
        self._counts: dict[tuple[str, int], int] = {}
        self._events: list[dict[str, Any]] = []
        self._process_id = ids.new()
        self._flushes = 0
        self._loop = Loop("token use and usage", _TOUCH_EVERY_S, self._flush_control, self._flush_all)

    def note(self, trace: Trace) -> None:
        """Take note of a request that has ended."""
        self._access_records.note(trace)
        if trace.tenant_id is None or trace.token_id is None or trace.status >= 500:
            return
        self._used[trace.token_id] = trace.occurred_at_ms
        key = (trace.tenant_id, trace.occurred_at_ms // _MINUTE_MS)
        self._counts[key] = self._counts.get(key, 0) + 1

    async def start(self) -> None:
        """Start the loops."""
        await self._access_records.start()
        self._loop.start()

    async def stop(self) -> None:
        """End the loops and hand over what is left, within a bound."""
        await self._access_records.stop()
        await self._loop.stop()

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
                await self._gateway.touch_tokens({token_id: iso(at) for token_id, at in used.items()})
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
                    "window_start": iso(minute * _MINUTE_MS),
                }
            )
        while self._events:
            batch = self._events[:MAX_BATCH]
            await self._gateway.add_usage(batch)
            del self._events[: len(batch)]
