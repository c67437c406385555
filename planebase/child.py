"""A child process: how it is started, where it logs, and that it cannot outlive its parent."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from planebase.paths import ROOT

_LOG_MAX_BYTES = 20_000_000
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

TIED = _LIBC is not None
"""Whether the kernel itself ends our children when we die; elsewhere `planebase.guard` does."""


@dataclass(frozen=True)
class Spec:
    """What to run. `orphan_signal` is sent when its parent is killed; `user` is set if root steps down."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = ROOT
    user: int | None = None
    group: int | None = None
    keep_fds: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    orphan_signal: signal.Signals = signal.SIGKILL
    stop_timeout_s: float = 10.0


def tie_to_parent(sig: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn`: the child gets `sig` when the *thread* that started it ends, so let that one last."""
    if _LIBC is None:
        return None
    libc, parent = _LIBC, os.getpid()

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return before_exec


def popen_options(spec: Spec) -> dict[str, Any]:
    """The arguments that `subprocess.Popen` and `asyncio.create_subprocess_exec` both take for `spec`."""
    options: dict[str, Any] = {
        "cwd": spec.cwd,
        "env": base_env() | dict(spec.env),
        "stdin": subprocess.DEVNULL,
        "stderr": subprocess.STDOUT,
        "pass_fds": spec.keep_fds,
        # Its own session: a Ctrl-C in the terminal reaches only the supervisor, which stops things in order.
        "start_new_session": True,
        "preexec_fn": tie_to_parent(spec.orphan_signal),
        "umask": 0o077,  # whatever they keep is their owner's
    }
    if spec.user is not None:
        options |= {"user": spec.user, "group": spec.group, "extra_groups": []}
    return options


def base_env() -> dict[str, str]:
    """What every child needs of our environment, and nothing else: no setting or secret leaks into it."""
    keep = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return {name: os.environ[name] for name in keep if name in os.environ} | {"PYTHONUNBUFFERED": "1"}


def open_log(path: Path) -> int:
    """Open `path` for appending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bound_log(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def bound_log(path: Path, max_bytes: int = _LOG_MAX_BYTES) -> None:
    """Set a log aside as `.1` when it has grown large; whoever appends to it goes on in the emptied file."""
    if path.exists() and path.stat().st_size > max_bytes:
        aside = os.open(path.with_suffix(path.suffix + ".1"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with path.open("rb") as log, os.fdopen(aside, "wb") as out:
            os.fchmod(aside, 0o600)  # an older one may have been open to others
            shutil.copyfileobj(log, out)
        os.truncate(path, 0)


def popen(spec: Spec) -> subprocess.Popen[bytes]:
    """Start `spec` with its output in its log."""
    log = open_log(spec.log)
    try:
        return subprocess.Popen(spec.argv, stdout=log, **popen_options(spec))
    finally:
        os.close(log)


def stop(process: subprocess.Popen[bytes], spec: Spec) -> None:
    """Ask `process` to stop, and end it if it has not within its bound."""
    harder = ((spec.stop_signal, spec.stop_timeout_s), (spec.kill_signal, 5.0), (signal.SIGKILL, 5.0))
    for sig, wait_s in harder:
        if process.poll() is not None:
            return
        process.send_signal(sig)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue


def end_orphans(argument: str, signals: tuple[signal.Signals, ...], wait_s: float) -> None:
    """End each process that has `argument` on its command line: what a killed run of ours left behind."""
    for process in psutil.process_iter(["cmdline"]):
        if argument not in (process.info["cmdline"] or []) or process.pid == os.getpid():
            continue
        for sig in (*signals, signal.SIGKILL):
            try:
                process.send_signal(sig)
                process.wait(wait_s)
            except psutil.TimeoutExpired:
                continue
            except psutil.NoSuchProcess:
                pass
            break


def log_tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 8192))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
