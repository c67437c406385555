"""Lines to a data cluster: a bounded set of connections that are lent without a task, a proxy or a round trip.

Measured: asyncpg's own pool took a fifth of the time of a small request in the Data API's process.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg

from core.errors import Unavailable
from db import pools

WAIT_S = 2.0
MAX_WAITING = 512
MAX_WAITING_OF_ONE = 128
"""Who comes when so many wait already, of all or of his tenant, is told at once: an answer that comes too late helps
nobody, and one tenant's flood does not fill the room of the others."""
MAX_USES = 200_000
"""A backend keeps 23 to 45 KB for every table it ever touched, so it does not live for ever."""
IDLE_S = 120.0


class Connection(asyncpg.Connection):
    """A connection with its statements, and what those have prepared on it, the least used first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: OrderedDict[str, bool] = OrderedDict()
        """By name; False where a refusal left open whether it is there."""
        self.statements: list[Any] = []
        self.uses = 0
        self.used_at = 0.0


async def connect(statements: Sequence[str], **where: Any) -> Connection:
    """Open a connection on which `statements` are prepared and JSON passes as bytes."""
    conn = await asyncpg.connect(
        timeout=pools.CONNECT_TIMEOUT_S,
        command_timeout=pools.COMMAND_TIMEOUT_S,
        connection_class=Connection,
        server_settings={"application_name": "planebase-data-api"},
        **where,
    )
    try:
        await pools.json_as_bytes(conn)
        conn.statements = [await conn.prepare(statement) for statement in statements]
    except BaseException:
        conn.terminate()
        raise
    return conn


class Lines:
    """Up to `max_size` connections, the last used first. Nothing is reset between two uses: what is set is set
    for a transaction, and none is open when a connection comes back."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, max_size: int) -> None:
        self._connect = connect
        self._max_size = max_size
        self._open = 0
        self._free: deque[Connection] = deque()
        self._waiting: OrderedDict[str, deque[asyncio.Future[Connection | None]]] = OrderedDict()
        """By tenant, the one whose turn is next first."""
        self._closing: set[asyncio.Task[None]] = set()

    async def take(self, tenant_id: str) -> Connection:
        """Return a connection that nobody else has; raises Unavailable where none comes free in time.

        Where callers wait, tenants take turns, however many callers each of them has.
        """
        while self._free:
            conn = self._free.pop()
            if not conn.is_closed():
                return conn
            self._open -= 1
        if self._open < self._max_size:
            self._open += 1
        elif (lent := await self._turn(tenant_id)) is not None:
            return lent
        try:
            return await self._connect()
        except BaseException:
            self._lost()
            raise

    def give(self, conn: Connection) -> None:
        """Take a connection back; one that is broken or worn makes room for another."""
        conn.uses += 1
        if conn.is_closed() or conn.is_in_transaction():
            conn.terminate()
            self._lost()
        elif conn.uses >= MAX_USES:
            self._close(conn)
            self._lost()
        elif (waiter := self._next_waiter()) is not None:
            waiter.set_result(conn)
        else:
            conn.used_at = time.monotonic()
            self._free.append(conn)
            if conn.used_at - self._free[0].used_at > IDLE_S:
                self._close(self._free.popleft())
                self._open -= 1

    async def close(self) -> None:
        """Close what is free, and wait a little for what is lent."""
        deadline = time.monotonic() + pools.CONNECT_TIMEOUT_S
        while self._open and time.monotonic() < deadline:
            while self._free:
                self._close(self._free.pop())
                self._open -= 1
            if self._open:
                await asyncio.sleep(0.02)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _turn(self, tenant_id: str) -> Connection | None:
        """Wait for a connection, or for the room to open one."""
        mine = self._waiting.get(tenant_id, ())
        if len(mine) >= MAX_WAITING_OF_ONE or sum(map(len, self._waiting.values())) >= MAX_WAITING:
            raise Unavailable("too many calls are waiting for this cluster", code="overloaded")
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, deque()).append(waiter)
        try:
            async with asyncio.timeout(WAIT_S):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():  # it came in the same moment
                lent = waiter.result()
                if lent is None:
                    self._lost()
                else:
                    self.give(lent)
            elif (waiters := self._waiting.get(tenant_id)) is not None and waiter in waiters:
                waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise Unavailable("the tenant's database is busy", code="overloaded") from None
            raise

    def _lost(self) -> None:
        """Let the next who waits open a connection in the place of one that is gone."""
        if (waiter := self._next_waiter()) is not None:
            waiter.set_result(None)
        else:
            self._open -= 1

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiting:
            tenant_id, waiters = self._waiting.popitem(last=False)
            while waiters:
                waiter = waiters.popleft()
                if not waiter.done():
                    if waiters:
                        self._waiting[tenant_id] = waiters
                    return waiter
        return None

    def _close(self, conn: Connection) -> None:
        task = asyncio.ensure_future(conn.close(timeout=pools.CONNECT_TIMEOUT_S))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
