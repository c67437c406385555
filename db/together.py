"""Calls that go together: while some of a kind are under way, those that come wait for them, and are sent as one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from core.errors import Unavailable

Kind = TypeVar("Kind", bound=Hashable)
Item = TypeVar("Item")
Found = TypeVar("Found")

PATIENCE_S = 0.02
"""For how long those who wait look on while nobody comes back: what is under way may be waiting for a lock."""
MOST_UNDER_WAY = 4
WAIT_S = 2.0
"""Who has not set out by then is told so: an answer that comes too late helps nobody."""


class _Waiter(NamedTuple, Generic[Item, Found]):
    """What is asked for, who waits for it, and until when."""

    item: Item
    turn: asyncio.Future[Found | None]
    until: float


class _UnderWay(Generic[Item, Found]):
    """How many calls of a kind are under way, since when nobody set out, and who waits to go."""

    __slots__ = ("calls", "is_watched", "left_at", "waiting")

    def __init__(self) -> None:
        self.calls = 0
        self.left_at = 0.0
        self.waiting: deque[_Waiter[Item, Found]] = deque()
        self.is_watched = False


class Together(Generic[Kind, Item, Found]):
    """Groups calls as a database groups its commits: nobody who could go waits for company.

    `ask` takes a kind and the items of one or more calls of it, and answers each, None where it must go by itself after
    all. Of a kind `at_once` are under way as long as they come back, and at most `most` go together, so that none of
    them waits long for the others; no two of these have a name in common of those that `apart` gives. What `ask` cannot
    do at once it must leave to each alone soon, since those alone are not counted.
    """

    def __init__(
        self,
        ask: Callable[[Kind, Sequence[Item]], Awaitable[Sequence[Found | None]]],
        apart: Callable[[Item], Iterable[str]] | None = None,
        *,
        most: int = 32,
        at_once: int = 1,
    ) -> None:
        self._ask = ask
        self._apart = apart
        self._most = most
        self._at_once = at_once
        self._kinds: dict[Kind, _UnderWay[Item, Found]] = {}
        self._going: set[asyncio.Task[None]] = set()

    async def __call__(self, kind: Kind, item: Item, alone: Callable[[], Awaitable[Found]]) -> Found:
        """Return what is found for `item`, by `alone` where it goes by itself.

        Raises what that or `ask` raises, and Unavailable where it does not set out in time.
        """
        here = self._kinds.get(kind)
        loop = asyncio.get_running_loop()
        if here is None:
            here = self._kinds[kind] = _UnderWay()
        if here.calls >= self._at_once:
            turn: asyncio.Future[Found | None] = loop.create_future()
            here.waiting.append(_Waiter(item, turn, loop.time() + WAIT_S))
            if not here.is_watched:
                here.is_watched = True
                loop.call_later(PATIENCE_S, self._watch, kind, here)
            found = await turn
            return await alone() if found is None else found
        here.calls += 1
        here.left_at = loop.time()
        try:
            return await alone()
        finally:
            self._next(kind, here)

    def _next(self, kind: Kind, here: _UnderWay[Item, Found]) -> None:
        """Let those who wait go in the place of what is back."""
        here.calls -= 1
        # Fewer than went beside each other where they were too slow.
        if here.calls < self._at_once and not self._set_out(kind, here) and not here.calls:
            del self._kinds[kind]

    def _set_out(self, kind: Kind, here: _UnderWay[Item, Found]) -> bool:
        group = self._group(here)
        if not group:
            return False
        loop = asyncio.get_running_loop()
        here.calls += 1
        here.left_at = loop.time()
        task = loop.create_task(self._go(kind, here, group))
        self._going.add(task)
        task.add_done_callback(self._going.discard)
        return True

    def _watch(self, kind: Kind, here: _UnderWay[Item, Found]) -> None:
        """Let those who wait go beside what is under way for too long, and tell those who have waited for too long."""
        loop = asyncio.get_running_loop()
        while here.waiting and here.waiting[0].until < loop.time():
            turn = here.waiting.popleft().turn
            if not turn.done():
                turn.set_exception(Unavailable("the tenant's database is busy", code="overloaded"))
        here.is_watched = bool(here.waiting)
        if not here.is_watched:
            return
        if loop.time() - here.left_at >= PATIENCE_S and here.calls < MOST_UNDER_WAY:
            self._set_out(kind, here)
        loop.call_later(PATIENCE_S, self._watch, kind, here)

    async def _go(
        self, kind: Kind, here: _UnderWay[Item, Found], group: Sequence[_Waiter[Item, Found]]
    ) -> None:
        try:
            found = await self._ask(kind, [waiter.item for waiter in group])
            answered = list(zip(group, found, strict=True))
        except BaseException as error:
            for waiter in group:
                if not waiter.turn.done():
                    waiter.turn.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for waiter, each in answered:
                if not waiter.turn.done():
                    waiter.turn.set_result(each)
        finally:
            self._next(kind, here)

    def _group(self, here: _UnderWay[Item, Found]) -> list[_Waiter[Item, Found]]:
        """Return who goes next, in the order in which they came; who would meet his like waits on."""
        group: list[_Waiter[Item, Found]] = []
        names: set[str] = set()
        stay: list[_Waiter[Item, Found]] = []
        while here.waiting and len(group) < self._most:
            waiter = here.waiting.popleft()
            if waiter.turn.done():
                continue
            if self._apart is not None:
                own = set(self._apart(waiter.item))
                if own & names:
                    stay.append(waiter)
                    continue
                names |= own
            group.append(waiter)
        here.waiting.extendleft(reversed(stay))
        return group
