"""The Temporal binary: found, downloaded or built, once per user. Standard library only (set-up needs it)."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from planebase.files import Lock, is_locked
from planebase.paths import ROOT, cache_dir

# Newer tags have a `replace`, which `go install` refuses.
MODULE = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
_ANSWER_S = 5.0
_TRANSFER_S = 600.0
_BUILD_S = 3_600.0
_SAY_EVERY_S = 15.0
_BUSY = 75

Say = Callable[[str], None]


class TemporalMissing(RuntimeError):
    """There is no Temporal server and none can be had; the message says what to install."""


def find() -> Path | None:
    """The binary as it is there now: PLANEBASE_TEMPORAL, then `temporal` on PATH, then the cache."""
    named = os.environ.get("PLANEBASE_TEMPORAL")
    if named:
        if not os.access(named, os.X_OK):
            raise TemporalMissing(f"PLANEBASE_TEMPORAL names {named}, which is not a program that can be run")
        return Path(named)
    on_path = shutil.which("temporal")
    if on_path:
        return Path(on_path)
    cached = _cached()
    return cached if os.access(cached, os.X_OK) else None


class Fetch:
    """The way to the binary when there is none yet: a background process does the work, once for all callers.

    It goes on when its first caller is stopped, and each caller tells how far it is.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting = False
        self._seen = 0

    def poll(self) -> Path | None:
        """The binary if it is there by now; else see to it that it is being got. Raises TemporalMissing."""
        found = find()
        if found:
            return found
        busy = is_under_way()
        if self._process is None and not busy:
            self._process = start_in_background()
            self._seen = 0
        elif self._process is not None and self._process.poll() not in (None, _BUSY):
            self._relay()
            raise TemporalMissing(
                _failure_file().read_text() if _failure_file().exists() else f"see {_log()}"
            )
        elif self._process is None and not self._waiting:
            self._waiting = True
            self._seen = _log().stat().st_size if _log().exists() else 0
            self._say(f"Waiting for the Temporal server, which is being fetched or built; the log: {_log()}")
        elif self._process is not None and self._process.returncode == _BUSY and not busy:
            self._process = None
        self._relay()
        return None

    def _relay(self) -> None:
        """Pass on what the other process says; the lines of the Go tool, one name each, are left out."""
        try:
            with _log().open("rb") as log:
                log.seek(self._seen)
                text = log.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._seen += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if " " in line and not line.startswith("go: "):
                self._say(line)


def ensure(say: Say) -> Path:
    """The binary, after it has been fetched or built if there is none yet. Raises TemporalMissing."""
    fetch = Fetch(say)
    while not (found := fetch.poll()):
        time.sleep(0.2)
    return found


def is_under_way() -> bool:
    """Whether a process is fetching or building it now."""
    return is_locked(_lock_file())


def start_in_background() -> subprocess.Popen[bytes]:
    """Start the process that gets the binary; at most one of them works, the others end at once."""
    return subprocess.Popen(
        [sys.executable, "-m", "planebase.temporal_cli"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _cached() -> Path:
    return cache_dir() / "bin" / "temporal"


def _log() -> Path:
    return cache_dir() / "temporal.log"


def _lock_file() -> Path:
    return cache_dir() / "temporal.lock"


def _failure_file() -> Path:
    return cache_dir() / "temporal.failed"


def _install(binary: Path) -> None:
    """Put a checked binary into the cache in one step."""
    binary.chmod(0o755)
    subprocess.run(
        [binary, "--version"], check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL
    )
    _cached().parent.mkdir(parents=True, exist_ok=True)
    os.replace(binary, _cached())


def _download(say: Say) -> str | None:
    """Fetch the official archive; the answer is why that did not work, None when it did."""
    machine = platform.machine().lower()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    if sys.platform not in ("linux", "darwin") or arch not in ("amd64", "arm64"):
        return f"there is none for {sys.platform} on {machine}"
    url = f"https://temporal.download/cli/archive/latest?platform={sys.platform}&arch={arch}"
    say("Getting the Temporal server, which runs the long operations, from temporal.download (100 MB, once).")
    with tempfile.TemporaryDirectory(prefix=".download-", dir=cache_dir()) as folder:
        archive, binary = Path(folder) / "archive", Path(folder) / "temporal"
        began, ended = threading.Event(), threading.Event()
        errors: list[str] = []

        def fetch() -> None:
            try:
                with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer, archive.open("wb") as out:
                    began.set()
                    shutil.copyfileobj(answer, out)
            except Exception as error:  # whatever it is, the next way is tried
                errors.append(str(getattr(error, "reason", error)))
            ended.set()
            began.set()

        # In a thread, since a name server that does not answer is not bound by urlopen's timeout.
        threading.Thread(target=fetch, daemon=True).start()
        if not began.wait(_ANSWER_S):
            return f"no answer within {_ANSWER_S:.0f} s"
        if not ended.wait(_TRANSFER_S):
            return f"not complete after {_TRANSFER_S:.0f} s"
        if errors:
            return errors[0]
        try:
            with tarfile.open(archive) as tar:
                member = tar.extractfile("temporal")
                if member is None:
                    return "the archive holds no program"
                with binary.open("wb") as out:
                    shutil.copyfileobj(member, out)
            _install(binary)
        except (tarfile.TarError, KeyError, OSError, subprocess.SubprocessError) as error:
            return f"the archive is unusable: {error}"
    return None


def _build(say: Say, refused: str) -> None:
    go = shutil.which("go")
    if go is None:
        raise TemporalMissing(
            "No Temporal server could be had: there is none at PLANEBASE_TEMPORAL, on PATH or in the cache,"
            f" the official download failed ({refused}), and there is no Go to build it with. Install either"
            " the Temporal CLI (https://docs.temporal.io/cli#install) or Go 1.24 or later (https://go.dev/dl,"
            " or `apt install golang-go`, `brew install go`), then run this again."
        )
    say(f"Building it from source instead (`go install {MODULE}`): about 5 minutes, once per user.")
    with tempfile.TemporaryDirectory(prefix=".build-", dir=cache_dir()) as folder:
        # Without cgo no C compiler is needed; -v logs each package, which is the progress.
        env = os.environ | {"GOBIN": folder, "CGO_ENABLED": "0"}
        command = [go, "install", "-v", "-trimpath", "-ldflags=-s -w", MODULE]
        before = _log().stat().st_size
        process = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL)
        started = said = time.monotonic()
        while process.poll() is None:
            time.sleep(0.2)
            now = time.monotonic()
            if now - started > _BUILD_S:
                process.kill()
                raise TemporalMissing(f"the build took more than an hour and was ended; see {_log()}")
            if now - said >= _SAY_EVERY_S:
                said = now
                say(f"  building for {now - started:.0f} s: {_doing(_log().read_bytes()[before:])}")
        if process.returncode != 0:
            tail = "\n".join(_log().read_text(errors="replace").splitlines()[-12:])
            raise TemporalMissing(f"`go install {MODULE}` failed; the end of its log ({_log()}):\n{tail}")
        say(f"  built in {time.monotonic() - started:.0f} s; trying it out")
        _install(Path(folder) / "temporal")
    say("The Temporal server is built.")


def _doing(said: bytes) -> str:
    """What the Go tool is at, by what it has said so far; how long that takes is unknown, so no share is told."""
    lines = said.decode(errors="replace").splitlines()
    packages = [line for line in lines if " " not in line]  # each is named when its turn comes
    if not packages:
        return f"{sum('downloading' in line for line in lines)} modules fetched"
    if MODULE.partition("@")[0] in packages:
        return f"all {len(packages)} packages compiled but the last, which is also linked"
    return f"{len(packages)} packages compiled"


def main() -> int:
    """Get the binary, with the log as our output; exit 75 when another process is at it already."""
    with Lock(_lock_file()) as lock:
        if not lock.acquire(timeout_s=1):
            return _BUSY
        _failure_file().unlink(missing_ok=True)
        log = os.open(_log(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)

        def say(line: str) -> None:
            os.write(1, f"{line}\n".encode())

        for leftover in (*cache_dir().glob(".build-*"), *cache_dir().glob(".download-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            if not find():
                refused = _download(say)
                if refused is not None:
                    say(f"The official download cannot be used here ({refused}).")
                    _build(say, refused)
        except TemporalMissing as error:
            _failure_file().write_text(str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
