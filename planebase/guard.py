"""A small process that ends our children when we are killed, where the kernel cannot do it (macOS)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

from planebase.paths import ROOT

_GRACE_S = 10.0


class Guard:
    """Our end of a pipe to the guard: when it closes, however we went, the guard ends whom we named."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "planebase.guard"], cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, pid: int, sig: signal.Signals) -> None:
        """Name a child and the signal that it is to get."""
        self._write(f"{pid} {int(sig)}\n")

    def forget(self, pid: int) -> None:
        """Take back the name of a child that has ended."""
        self._write(f"{pid} 0\n")

    def _write(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(line.encode())
                pipe.flush()

    def close(self) -> None:
        """Let the guard end; our children are gone by then."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(_GRACE_S + 5)


def main() -> None:
    """Read names until the pipe closes; then signal who still lives, and kill who does not heed it."""
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    named: dict[int, int] = {}
    for line in sys.stdin:
        pid, number = line.split()
        if int(number):
            named[int(pid)] = int(number)
        else:
            named.pop(int(pid), None)
    for pid, number in named.items():
        _send(pid, number)
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline and any(_send(pid, 0) for pid in named):
        time.sleep(0.1)
    for pid in named:
        _send(pid, signal.SIGKILL)


def _send(pid: int, number: int) -> bool:
    """Only to the leader of its own session, as our children are: a number that was used again is spared."""
    try:
        if os.getsid(pid) != pid:
            return False
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
