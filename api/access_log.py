"""An API's access log: a record of each request, written in batches and off the request's path."""

import json
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache

from prometheus_client import Counter

from api.edge import Trace
from api.loops import Loop
from db.activity.access_log import AccessLog

MAX_RECORDS = 20_000
MAX_BATCH = 500
_EVERY_S = 0.5

_dropped = Counter("planebase_access_records_dropped_total", "Access records that were not written")


class AccessRecords:
    """A bounded buffer and the loop that empties it. A database that is away costs records here, never a request."""

    def __init__(self, access_log: AccessLog) -> None:
        self._access_log = access_log
        self._records: deque[Trace] = deque()
        self._loop = Loop("access log", _EVERY_S, self._flush, self._flush)

    def note(self, trace: Trace) -> None:
        """Take note of a request that has ended."""
        if not trace.is_recorded:
            return
        if len(self._records) >= MAX_RECORDS:
            _dropped.inc()
        else:
            self._records.append(trace)

    async def start(self) -> None:
        """Start writing; nothing connects before there is something to write."""
        await self._access_log.open()
        self._loop.start()

    async def stop(self) -> None:
        """End, and hand over what is left, within a bound."""
        await self._loop.stop()
        _dropped.inc(len(self._records))
        await self._access_log.close()

    async def _flush(self) -> None:
        while self._records:
            batch = [self._records.popleft() for _ in range(min(MAX_BATCH, len(self._records)))]
            try:
                await self._access_log.add([_row(trace) for trace in batch])
            except BaseException:
                # The ids make a batch that was written after all harmless.
                room = MAX_RECORDS - len(self._records)
                _dropped.inc(max(0, len(batch) - room))
                self._records.extendleft(reversed(batch[-room:] if room > 0 else []))
                raise


def iso(at_ms: int) -> str:
    """Return a time as the databases read it."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat()


def _row(trace: Trace) -> str:
    # By hand, since there is one for every request: what is not ours is quoted, the rest are ids and figures.
    operation_id = trace.operation_id
    return (
        f'{{"id":"{operation_id}","occurred_at":"{iso(trace.occurred_at_ms)}","tenant_id":{_quoted(trace.tenant_id)},'
        f'"token_id":{_quoted(trace.token_id)},"base_id":{_quoted(trace.base_id)},"route":{_quoted(trace.route)},'
        f'"method":{_quoted(trace.method)},"status":{trace.status},"latency_ms":{trace.latency_ms:.3f},'
        f'"bytes":{trace.response_bytes},"ip":{_quoted(trace.ip)},"operation_id":"{operation_id}"}}'
    )


_quoted = lru_cache(4_096)(json.dumps)
