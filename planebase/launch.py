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
from typing import Any

import psutil  # type: ignore[import-untyped]

from planebase import child, postgres, temporal, temporal_cli
from planebase.stack import PortTaken, Stack
from planebase.state import DataDir
from planebase.supervisor import Say, StartFailed

_TIME = re.compile(r"^\d{4}-\d\d-\d\dT[0-9:.+-]+ ")
_DOWN_S = 60.0
_START_S = 3_900.0  # a first start may have to build the Temporal server
BUSY = 75
"""The exit code of a supervised process that found another stack in its place."""
EXPECTED = (
    StartFailed,
    PortTaken,
    temporal_cli.TemporalMissing,
    temporal.TemporalError,
    postgres.PostgresError,
)


class Failed(RuntimeError):
    """The stack did not start or stop; the message is for a person."""


def is_there(data_dir: DataDir, say: Say) -> bool:
    """Whether a stack that stays runs in `data_dir` and is ready; False when there is room for another.

    One that starts, stops, or ends with the demo that it was started for, is waited for.
    """
    deadline, said = time.monotonic() + _START_S, ""
    while data_dir.is_running():
        stack = data_dir.stack()
        # What a killed stack left is in the file until its successor, which has the lock, has written it anew.
        is_ready = stack.get("ready") and psutil.pid_exists(stack["pid"])
        if is_ready and not stack.get("for_demo"):
            return True
        if time.monotonic() > deadline:
            raise Failed(f"the stack in {data_dir.path} is not ready after {_START_S:.0f} s")
        waits_for = _waits_for(stack)
        if waits_for != said:
            say(f"{waits_for} (process {stack.get('pid')}, in {data_dir.path})")
            said = waits_for
        time.sleep(0.1)
    return False


def _waits_for(stack: dict[str, Any]) -> str:
    if stack.get("stopping"):
        return "Waiting for the stack that is stopping here"
    if stack.get("for_demo"):
        return "A demo runs here on a stack of its own, which ends with it; waiting for that end"
    return "Waiting for the stack that is starting here"


def run_here(
    data_dir: DataDir,
    port_base: int,
    say: Say,
    when_ready: Callable[[float], None],
    *,
    for_demo: bool = False,
) -> None:
    """Run the stack until a signal asks it to stop, then stop it in order. The folder is claimed."""
    asyncio.run(_run(Stack(data_dir, port_base, say, for_demo=for_demo), say, when_ready))


async def _run(stack: Stack, say: Say, when_ready: Callable[[float], None]) -> None:
    stop = asyncio.Event()
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
                f"Everything is stopped ({time.monotonic() - began:.1f} s)."
                f" The data stays in {stack.data_dir.path}"
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


def run_detached(
    data_dir: DataDir, port_base: int, say: Say, *, for_demo: bool = False
) -> subprocess.Popen[bytes] | None:
    """Start the stack in a process of its own and return that when it is ready; one for a demo ends when we do.

    None when another one came first.
    """
    log = data_dir.log("supervisor")
    spec = child.Spec(
        name="supervisor",
        argv=(
            *(sys.executable, "-m", "planebase", "up"),
            *("--data-dir", str(data_dir.path), "--port-base", str(port_base)),
            *("--supervise", *(["--for-demo"] if for_demo else [])),
        ),
        log=log,
        env=dict(os.environ),
        orphan_signal=signal.SIGTERM,
    )
    start = log.stat().st_size if log.exists() else 0
    options = child.popen_options(spec)
    if not for_demo:
        options["preexec_fn"] = None
    out = child.open_log(log)
    try:
        process = subprocess.Popen(spec.argv, stdout=out, **options)
    finally:
        os.close(out)
    try:
        return process if _became_ready(process, data_dir, _Follow(log, start, say)) else None
    except BaseException:  # a Ctrl-C as well: what is not ready yet is not left behind
        stop(process)
        raise


def _became_ready(process: subprocess.Popen[bytes], data_dir: DataDir, said: _Follow) -> bool:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        stack = data_dir.stack()
        ready = stack.get("ready") and stack.get("pid") == process.pid
        said.more()
        if ready and not ended:
            return True
        if process.returncode == BUSY:
            return False
        if ended:
            raise Failed(f"the stack did not start; its log is {data_dir.log('supervisor')}")
        time.sleep(0.05)
    raise Failed(f"the stack was not ready after {_START_S:.0f} s; its log is {data_dir.log('supervisor')}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the stack that `run_detached` started, and no other. Repeating it changes nothing."""
    for ask in (process.terminate, process.kill):  # its children end with it
        ask()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_DOWN_S)
            return


def stop_running(data_dir: DataDir) -> bool:
    """Stop the stack that runs in `data_dir`; False when there is none."""
    if not data_dir.is_running():
        return False
    pid = int(data_dir.stack().get("pid") or 0)
    _send(pid, signal.SIGTERM)
    if _wait_until_stopped(data_dir, pid, _DOWN_S):
        return True
    _send(pid, signal.SIGKILL)  # its children end with it
    if _wait_until_stopped(data_dir, pid, 10):
        return True
    raise Failed(f"the stack in {data_dir.path} does not stop (process {pid})")


def _send(pid: int, sig: signal.Signals) -> None:
    if pid > 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)


def _wait_until_stopped(data_dir: DataDir, pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        # Somebody may have waited for the place, and have it by now.
        if not data_dir.is_running() or data_dir.stack().get("pid") != pid:
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
