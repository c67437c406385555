"""Who waits for changes: one look at the database for all who wait at one base, and none of them holds a connection."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

import structlog

from core.errors import PlanebaseError, RateLimited, Unavailable
from db.data import feed
from db.data.feed import Place
from db.data.homes import Claims, Home

MAX_WAITING = 1_000
MAX_WAITING_PER_TOKEN = 20
MAX_READING = 8
"""So many of those whom a change wakes read it at a time: the connections are there for all callers."""
SHORTEST_S, LONGEST_S = 0.05, 0.5
_APART_S = 0.005
"""All bases together are looked at 200 times a second at most: where many are waited at, each waits longer."""
_RETRY_S = 5

_log = structlog.get_logger("data_api")

_Key = tuple[Home, str, str, int]


class Watch:
    """One base at which somebody waits. It looks for the newest change until nobody does any more."""

    def __init__(self, home: Home, claims: Claims) -> None:
        self._home = home
        self._claims = claims
        self._newest: Place | None = None
        self._failures = 0
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._soon = asyncio.Event()
        self.waiting = 0

    def hurry(self) -> None:
        """Look soon: somebody has just begun to wait."""
        self._soon.set()

    async def beyond(self, place: Place, gone: asyncio.Future[None], timeout_s: float) -> bool:
        """Wait until there is a change after `place`, or reading would say what is wrong; False if the time is over."""
        loop = asyncio.get_running_loop()
        until, failures = loop.time() + timeout_s, self._failures
        while not (self._newest is not None and self._newest > place) and failures == self._failures:
            left = until - loop.time()
            if left <= 0 or gone.done():
                return False
            await asyncio.wait({self._news, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return True

    def tell(self, *, failed: bool) -> None:
        """Wake all who wait; after a failure each of them reads, and is told what it was."""
        self._failures += failed
        news, self._news = self._news, asyncio.get_running_loop().create_future()
        news.set_result(None)

    async def look(self, watches: "Watches") -> None:
        """Look again and again, less often while nothing happens."""
        pause = SHORTEST_S
        while True:
            await asyncio.sleep(watches.shortest_pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), pause - SHORTEST_S)
                pause = SHORTEST_S
            self._soon.clear()
            if not self.waiting:
                return
            try:
                newest = await feed.newest(self._home, self._claims)
            except Exception as error:
                if not isinstance(error, PlanebaseError):
                    _log.warning("cannot look for changes", base_id=self._claims.base_id, error=repr(error))
                pause = LONGEST_S
                self.tell(failed=True)
            else:
                pause = min(2 * pause, LONGEST_S)
                if newest != self._newest:
                    self._newest, pause = newest, SHORTEST_S
                    self.tell(failed=False)


class Watches:
    """All who wait in this process, within stated bounds."""

    def __init__(self) -> None:
        self._watches: dict[_Key, Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: Counter[str] = Counter()
        self.reading = asyncio.Semaphore(MAX_READING)
        self.is_draining = False

    @property
    def shortest_pause_s(self) -> float:
        """How long a watch waits at least between two looks."""
        return max(SHORTEST_S, len(self._watches) * _APART_S)

    @contextlib.contextmanager
    def room(self, token_id: str) -> Iterator[None]:
        """Take a place among those who wait; refuses whoever finds none, before anything is read for him."""
        if self._waiting[token_id] >= MAX_WAITING_PER_TOKEN:
            raise RateLimited(
                f"a token may have {MAX_WAITING_PER_TOKEN} calls that wait", retry_after_s=_RETRY_S
            )
        if self._waiting.total() >= MAX_WAITING:
            raise Unavailable("too many callers wait already", code="overloaded", retry_after_s=_RETRY_S)
        self._waiting[token_id] += 1
        try:
            yield
        finally:
            self._waiting[token_id] -= 1
            if not self._waiting[token_id]:
                del self._waiting[token_id]

    @contextlib.contextmanager
    def at(self, home: Home, claims: Claims) -> Iterator[Watch]:
        """Return the watch of the claims' base; it goes on while somebody is inside."""
        key = (home, claims.tenant_id, claims.base_id, claims.generation)
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(home, claims)
            task = asyncio.create_task(self._look(key, watch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        watch.waiting += 1
        try:
            yield watch
        finally:
            watch.waiting -= 1

    def drain(self) -> None:
        """Let all who wait go: the process is about to end."""
        self.is_draining = True
        for watch in self._watches.values():
            watch.tell(failed=True)

    async def close(self) -> None:
        """End all looking."""
        self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self, key: _Key, watch: Watch) -> None:
        try:
            await watch.look(self)
        finally:
            del self._watches[key]
