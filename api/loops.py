"""Work that goes on beside the requests."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_LAST_S = 5.0

_log = structlog.get_logger("api")

Work = Callable[[], Awaitable[None]]


class Loop:
    """Repeats `work` until it is stopped, then does `last`. What fails is told once, and tried again."""

    def __init__(self, what: str, every_s: float, work: Work, last: Work) -> None:
        self._what = what
        self._every_s = every_s
        self._work = work
        self._last = last
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start repeating."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, and do what is left to do within a bound."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await asyncio.wait_for(self._last(), _LAST_S)
        except Exception as error:
            _log.warning("lost at the end", what=self._what, error=repr(error))

    async def _run(self) -> None:
        is_failing = False
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._work()
            except Exception as error:
                if not is_failing:
                    _log.warning("cannot be written now; it waits", what=self._what, error=repr(error))
                is_failing = True
            else:
                is_failing = False
