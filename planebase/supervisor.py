"""A child process kept alive: started until it is ready, again when it dies, and stopped within a bound."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from planebase import child
from planebase.guard import Guard

_FIRST_DELAY_S = 0.2
_LAST_DELAY_S = 5.0
_HEALTHY_S = 30.0
_POLL_S = 0.05
_START_ATTEMPTS = 4

Say = Callable[[str], None]


class StartFailed(RuntimeError):
    """A child did not become ready; the message holds the end of its log."""


class Service:
    """A child and its life. `ready` is asked until it says yes; `changed` is called when the state moves."""

    def __init__(
        self,
        spec: Callable[[], child.Spec],
        ready: Ready,
        *,
        say: Say,
        changed: Callable[[], None] = lambda: None,
        guard: Guard | None = None,
        start_timeout_s: float = 60.0,
    ) -> None:
        self._make_spec = spec
        self._ready = ready
        self._say = say
        self._changed = changed
        self._guard = guard
        self._start_timeout_s = start_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._spec: child.Spec | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._stopping = False
        self._spawned_at = 0.0
        self._log_start = 0
        self.state = "waiting"
        self.restarts = 0

    @property
    def name(self) -> str:
        return self._spec.name if self._spec else "?"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    def summary(self) -> dict[str, Any]:
        """What `status` tells about it."""
        log = str(self._spec.log) if self._spec else None
        return {"state": self.state, "pid": self.pid, "restarts": self.restarts, "log": log}

    def output(self) -> bytes:
        """What the child has written since it was started last (the first part of it)."""
        if self._spec is None:
            return b""
        with self._spec.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read(100_000)

    async def start(self) -> None:
        """Return when the child is ready; from then on it is kept alive. Raises StartFailed."""
        deadline = time.monotonic() + self._start_timeout_s
        for attempt in range(1, _START_ATTEMPTS + 1):
            await self._spawn()
            if await self._wait_ready(deadline):
                self._watcher = asyncio.create_task(self._watch())
                return
            if time.monotonic() > deadline or attempt == _START_ATTEMPTS:
                break
            # Just after a kill -9 the parts of the dead process may still hold memory or a port.
            await asyncio.sleep(_FIRST_DELAY_S * 2 ** (attempt - 1))
        assert self._spec is not None  # noqa: S101  (set by _spawn)
        why = "ended at once" if self.pid is None else f"was not ready after {self._start_timeout_s:.0f} s"
        raise StartFailed(
            f"{self.name} {why}. The end of {self._spec.log}:\n{child.log_tail(self._spec.log)}"
        )

    async def stop(self) -> None:
        """End the child: gently, then harder, each within a bound. Repeating it changes nothing."""
        self._stopping = True
        process, spec = self._process, self._spec
        if process is not None and spec is not None:
            harder = (
                (spec.stop_signal, spec.stop_timeout_s),
                (spec.kill_signal, 5.0),
                (signal.SIGKILL, 5.0),
            )
            for sig, wait_s in harder:
                if process.returncode is not None:
                    break
                try:
                    process.send_signal(sig)
                    await asyncio.wait_for(process.wait(), wait_s)
                except ProcessLookupError:
                    break
                except TimeoutError:
                    self._say(f"{spec.name} did not stop within {wait_s:.0f} s of {sig.name}")
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        self._set("stopped")

    def kill(self) -> None:
        """End the child at once."""
        self._stopping = True
        if self._process is not None and self._spec is not None and self._process.returncode is None:
            self._process.send_signal(self._spec.kill_signal)

    async def _spawn(self) -> None:
        spec = self._spec = self._make_spec()
        log = child.open_log(spec.log)
        self._log_start = os.fstat(log).st_size
        try:
            # On the event loop's thread, which lives as long as we do: the kernel ties a child to a thread.
            self._process = await asyncio.create_subprocess_exec(
                *spec.argv, stdout=log, **child.popen_options(spec)
            )
        finally:
            os.close(log)
        if self._guard:
            self._guard.watch(self._process.pid, spec.orphan_signal)
        self._spawned_at = time.monotonic()
        self._set("starting")

    async def _wait_ready(self, deadline: float) -> bool:
        process = self._process
        assert process is not None  # noqa: S101  (set by _spawn)
        while process.returncode is None and time.monotonic() < deadline and not self._stopping:
            if await self._ready(self):
                self._set("ready")
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _watch(self) -> None:
        delay_s = _FIRST_DELAY_S
        while not self._stopping:
            process = self._process
            assert process is not None  # noqa: S101  (set by _spawn)
            code = await process.wait()
            if self._guard:
                self._guard.forget(process.pid)
            if self._stopping:
                return
            if time.monotonic() - self._spawned_at > _HEALTHY_S:
                delay_s = _FIRST_DELAY_S
            self._set("restarting")
            self._say(f"{self.name} ended ({_ending(code)}); starting it again in {delay_s:.1f} s")
            await asyncio.sleep(delay_s)
            delay_s = min(_LAST_DELAY_S, delay_s * 2)
            self.restarts += 1
            await self._spawn()
            if await self._wait_ready(time.monotonic() + self._start_timeout_s):
                self._say(f"{self.name} is back")
            elif self.pid is not None and not self._stopping:
                self._say(f"{self.name} runs again but is not ready after {self._start_timeout_s:.0f} s")

    def _set(self, state: str) -> None:
        self.state = state
        self._changed()


Ready = Callable[[Service], Awaitable[bool]]


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
