"""Lines to a data cluster: a bounded set of connections that are lent without a task, a proxy or a round trip.

Measured: asyncpg's own pool took a fifth of the time of a small request in the Data API's process.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

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
AT_ONCE = 4
"""How many work at a time while calls come back: more of them take each other's processor and locks, and all are
slower for it."""
STUCK_S = 0.01
MOST_STUCK_S = 0.03
"""For how long no call may come back until one more may work, since those at work wait for a lock: the first of these,
or twice what calls took lately, but not more than the second."""
_MORE_S = 0.25
"""For how long one more may."""


class Connection(asyncpg.Connection):
    """A connection with its statements, and what those have prepared on it, the least used first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: OrderedDict[str, bool] = OrderedDict()
        """By name; False where a refusal left open whether it is there."""
        self.statements: list[Any] = []
        self.uses = 0
        self.taken_at = self.used_at = 0.0


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


class _Waiter(NamedTuple):
    """One who waits for a turn, and until when."""

    turn: asyncio.Future[Connection | None]
    until: float


class Lines:
    """Up to `max_size` connections, the last used first; few of them work at a time, unless these are stuck.

    Nothing is reset between two uses: what is set is set for a transaction, and none is open when a connection comes
    back.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, max_size: int) -> None:
        self._connect = connect
        self._max_size = max_size
        self._at_once = self._least = min(AT_ONCE, max_size)
        self._came_back_at = self._changed_at = 0.0
        """When a call last did, and when `_at_once` last changed."""
        self._usual_s = 0.0
        """How long a call was away lately."""
        self._is_watched = False
        self._open = 0
        """How many there are, or are being opened."""
        self._free: deque[Connection] = deque()
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        """By tenant, the one whose turn is next first."""
        self._closing: set[asyncio.Task[None]] = set()

    async def take(self, tenant_id: str) -> Connection:
        """Return a connection that nobody else has; raises Unavailable where none comes free in time.

        Where callers wait, tenants take turns, however many callers each of them has.
        """
        conn = self._begin() if self._has_room else await self._turn(tenant_id)
        if conn is None:
            try:
                conn = await self._connect()
            except BaseException:
                self._lost()
                raise
        conn.taken_at = time.monotonic()
        return conn

    def give(self, conn: Connection) -> None:
        """Take a connection back; one that is broken or worn makes room for another."""
        conn.uses += 1
        conn.used_at = self._came_back_at = time.monotonic()
        away_s = min(conn.used_at - conn.taken_at, MOST_STUCK_S / 2)
        self._usual_s += (away_s - self._usual_s) / 32
        if self._at_once > self._least and conn.used_at - self._changed_at > _MORE_S:
            self._at_once -= 1
            self._changed_at = conn.used_at
        if conn.is_closed() or conn.is_in_transaction():
            conn.terminate()
            self._open -= 1
        elif conn.uses >= MAX_USES:
            self._close(conn)
            self._open -= 1
        else:
            self._free.append(conn)
        self._admit()
        if self._free and conn.used_at - self._free[0].used_at > IDLE_S:
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

    @property
    def _has_room(self) -> bool:
        return self._open - len(self._free) < self._at_once

    def _begin(self) -> Connection | None:
        """Return a connection to work with; None where one is to be opened."""
        while self._free:
            conn = self._free.pop()
            if not conn.is_closed():
                return conn
            self._open -= 1
        self._open += 1
        return None

    def _admit(self) -> None:
        """Let those who wait begin, while there is room."""
        while self._has_room and (waiter := self._next_waiter()) is not None:
            waiter.turn.set_result(self._begin())

    async def _turn(self, tenant_id: str) -> Connection | None:
        """Wait for a connection, or for the room to open one."""
        mine = self._waiting.get(tenant_id, ())
        if len(mine) >= MAX_WAITING_OF_ONE or sum(map(len, self._waiting.values())) >= MAX_WAITING:
            raise Unavailable("too many calls are waiting for this cluster", code="overloaded")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future(), time.monotonic() + WAIT_S)
        self._waiting.setdefault(tenant_id, deque()).append(waiter)
        if not self._is_watched:
            self._is_watched = True
            loop.call_later(STUCK_S, self._watch)
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                # It came in the same moment.
                lent = waiter.turn.result()
                if lent is None:
                    self._lost()
                else:
                    self.give(lent)
            elif (waiters := self._waiting.get(tenant_id)) is not None and waiter in waiters:
                waiters.remove(waiter)
            raise

    def _watch(self) -> None:
        """While callers wait, let one more work each time that none has come back for a while, and tell those who
        have waited for too long. (A timer for each of them would cost more than all else here.)"""
        now = time.monotonic()
        for waiters in self._waiting.values():
            while waiters and waiters[0].until < now:
                turn = waiters.popleft().turn
                if not turn.done():
                    turn.set_exception(Unavailable("the tenant's database is busy", code="overloaded"))
        self._is_watched = any(self._waiting.values())
        if not self._is_watched:
            return
        stuck_s = max(STUCK_S, 2 * self._usual_s)
        if self._at_once < self._max_size and now - max(self._came_back_at, self._changed_at) >= stuck_s:
            self._at_once += 1
            self._changed_at = now
            self._admit()
        asyncio.get_running_loop().call_later(STUCK_S, self._watch)

    def _lost(self) -> None:
        """Let another open a connection in the place of one that is gone."""
        self._open -= 1
        self._admit()

    def _next_waiter(self) -> _Waiter | None:
        while self._waiting:
            tenant_id, waiters = self._waiting.popitem(last=False)
            while waiters:
                waiter = waiters.popleft()
                if not waiter.turn.done():
                    if waiters:
                        self._waiting[tenant_id] = waiters
                    return waiter
        return None

    def _close(self, conn: Connection) -> None:
        task = asyncio.ensure_future(conn.close(timeout=pools.CONNECT_TIMEOUT_S))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
