"""Running a stack: in this terminal, in the background, and stopping one that runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from planebase import child, postgres, temporal, temporal_cli
from planebase.stack import PortTaken, Stack
from planebase.state import DataDir
from planebase.supervisor import Say, StartFailed

_TIME = re.compile(r"^\d{4}-\d\d-\d\dT[0-9:.+-]+ ")
_DOWN_S = 60.0
_START_S = 3_900.0  # a first start may have to build the Temporal server
EXPECTED = (
    StartFailed,
    PortTaken,
    temporal_cli.TemporalMissing,
    temporal.TemporalError,
    postgres.PostgresError,
)


class Failed(RuntimeError):
    """The stack did not start or stop; the message is for a person."""


def run_here(data_dir: DataDir, port_base: int, say: Say, when_ready: Callable[[float], None]) -> None:
    """Run the stack until a signal asks it to stop, then stop it in order. The folder is claimed."""
    asyncio.run(_run(data_dir, port_base, say, when_ready))


async def _run(data_dir: DataDir, port_base: int, say: Say, when_ready: Callable[[float], None]) -> None:
    stop = asyncio.Event()
    stack = Stack(data_dir, port_base, say)
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            stack.hurry()
        stop.set()

    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(sig) is not signal.SIG_IGN:  # as nohup leaves it
            loop.add_signal_handler(sig, on_signal)
    starting = asyncio.create_task(stack.up())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            when_ready(_result(starting))
            await stop.wait()
        say("Stopping: workers first, then the APIs, Temporal, PostgreSQL (once more Ctrl-C: at once).")
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        began = time.monotonic()
        if await stack.down():
            say(
                f"Everything is stopped ({time.monotonic() - began:.1f} s). The data stays in {data_dir.path}"
            )


def _result(task: asyncio.Task[float]) -> float:
    """The task's result, or of the errors that stopped it the first that a person can act on."""
    try:
        return task.result()
    except BaseExceptionGroup as group:
        known, _ = group.split(EXPECTED)
        found: BaseException | None = known
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if found is None:
            raise
        raise Failed(str(found)) from group
    except EXPECTED as error:
        raise Failed(str(error)) from error


def run_detached(data_dir: DataDir, port_base: int, say: Say, *, tied: bool = False) -> None:
    """Start the stack in a process of its own and return when it is ready; a `tied` one ends when we do."""
    log = data_dir.log("supervisor")
    spec = child.Spec(
        name="supervisor",
        argv=(
            *(sys.executable, "-m", "planebase", "up"),
            *("--data-dir", str(data_dir.path), "--port-base", str(port_base), "--supervise"),
        ),
        log=log,
        env=dict(os.environ),
        orphan_signal=signal.SIGTERM,
    )
    start = log.stat().st_size if log.exists() else 0
    options = child.popen_options(spec)
    if not tied:
        options["preexec_fn"] = None
    out = child.open_log(log)
    try:
        process = subprocess.Popen(spec.argv, stdout=out, **options)
    finally:
        os.close(out)
    said = _Follow(log, start, say)
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        stack = data_dir.stack()
        ready = stack.get("ready") and stack.get("pid") == process.pid
        said.more()
        if ready and not ended:
            return
        if ended:
            raise Failed(f"the stack did not start; its log is {log}")
        time.sleep(0.05)
    process.terminate()
    raise Failed(f"the stack was not ready after {_START_S:.0f} s; its log is {log}")


def wait_until_ready(data_dir: DataDir) -> bool:
    """Wait for a stack that somebody else is starting; False when it ended instead."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and data_dir.is_running():
        if data_dir.stack().get("ready"):
            return True
        time.sleep(0.1)
    return False


def stop_running(data_dir: DataDir) -> bool:
    """Stop the stack that runs in `data_dir`; False when there is none."""
    if not data_dir.is_running():
        return False
    pid = int(data_dir.stack().get("pid") or 0)
    _send(pid, signal.SIGTERM)
    if _wait_until_stopped(data_dir, _DOWN_S):
        return True
    _send(pid, signal.SIGKILL)  # its children end with it
    if _wait_until_stopped(data_dir, 10):
        return True
    raise Failed(f"the stack in {data_dir.path} does not stop (process {pid})")


def _send(pid: int, sig: signal.Signals) -> None:
    if pid > 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)


def _wait_until_stopped(data_dir: DataDir, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not data_dir.is_running():
            return True
        time.sleep(0.05)
    return False


class _Follow:
    """Says the new lines of a log, without their times."""

    def __init__(self, log: Path, start: int, say: Say) -> None:
        self._log, self._at, self._say = log, start, say

    def more(self) -> None:
        with self._log.open("rb") as log:
            log.seek(self._at)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._say(_TIME.sub("", line))
