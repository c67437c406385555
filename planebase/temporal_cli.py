"""The Temporal binary: found, downloaded or built, once per machine user. Standard library only (setup runs it early)."""

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

from planebase.files import Lock
from planebase.paths import ROOT, cache_dir

MODULE = "github.com/temporalio/cli/cmd/temporal@v1.5.1"  # newer tags have a `replace`, which `go install` refuses
_PACKAGES = 1_600  # how many Go packages the build compiles, for the progress line
_ANSWER_S = 5.0
_TRANSFER_S = 600.0
_BUILD_S = 3_600.0
_SAY_EVERY_S = 15.0

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


def ensure(say: Say) -> Path:
    """The binary, fetched or built if need be; several callers at once do the work once and all tell how far it is."""
    found = find()
    if found:
        return found
    with Lock(cache_dir() / "temporal.lock") as lock:
        if not lock.acquire():
            say("The Temporal server (it runs the long operations) is being fetched or built by a set-up in the background; waiting.")
            _wait(lock, say)
        found = find()
        if found:
            return found
        refused = _download(say)
        if refused is not None:
            say(f"The official download of the Temporal server cannot be used here ({refused}).")
            _build(say, refused)
    return _cached()


def ensure_in_background(say: Say) -> None:
    """See to it that somebody is getting the binary, without waiting for it."""
    if find():
        return
    with Lock(cache_dir() / "temporal.lock") as lock:
        if not lock.acquire():
            return
    say(
        "Getting the Temporal server, which runs the long operations, in the background (download, else a build of about"
        f" 4 minutes, once per user). Its log: {_log()}"
    )
    _log().parent.mkdir(parents=True, exist_ok=True)
    with _log().open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "planebase.temporal_cli"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _cached() -> Path:
    return cache_dir() / "bin" / "temporal"


def _log() -> Path:
    return cache_dir() / "temporal.log"


def _wait(lock: Lock, say: Say) -> None:
    started = time.monotonic()
    while not lock.acquire(timeout_s=_SAY_EVERY_S):
        waited_s = time.monotonic() - started
        if waited_s > _BUILD_S:
            raise TemporalMissing(f"another process has been getting the Temporal server for an hour; see {_log()}")
        say(f"  still being fetched or built, {waited_s:.0f} s{_compiled()}")


def _compiled() -> str:
    """How far a running build is: it logs a line per package."""
    try:
        names = _log().read_text(errors="replace").rpartition("go install ")[2].splitlines()[1:]
    except FileNotFoundError:
        return ""
    return f"; about {min(99, 100 * len(names) // _PACKAGES)} % compiled" if names else ""


def _install(binary: Path) -> None:
    """Put a checked binary into the cache in one step."""
    binary.chmod(0o755)
    subprocess.run([str(binary), "--version"], check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    _cached().parent.mkdir(parents=True, exist_ok=True)
    os.replace(binary, _cached())


def _download(say: Say) -> str | None:
    """Fetch the official archive; the answer is why that did not work, None when it did."""
    arch = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower())
    system = {"linux": "linux", "darwin": "darwin"}.get(sys.platform)
    if arch is None or system is None:
        return f"there is none for {sys.platform} on {platform.machine()}"
    url = f"https://temporal.download/cli/archive/latest?platform={system}&arch={arch}"
    say("Getting the Temporal server (it runs the long operations), about 100 MB once, from temporal.download …")
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=cache_dir()) as folder:
        archive, binary = Path(folder) / "archive", Path(folder) / "temporal"
        began, ended = threading.Event(), threading.Event()
        errors: list[str] = []

        def fetch() -> None:
            try:
                with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer, archive.open("wb") as out:  # noqa: S310
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
            "No Temporal server could be had. There is none at PLANEBASE_TEMPORAL, on PATH or in the cache; the official download"
            f" failed ({refused}); and there is no Go to build it with. Install either the Temporal CLI"
            " (https://docs.temporal.io/cli#install) or Go 1.24 or later (https://go.dev/dl, `apt install golang-go`,"
            " `brew install go`), then run this again."
        )
    say(f"Building the Temporal server from source instead (`go install {MODULE}`): about 4 minutes, once per user.")
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=cache_dir()) as folder:
        # Without cgo no C compiler is needed; -v logs each package, which is the progress.
        env = os.environ | {"GOBIN": folder, "CGO_ENABLED": "0"}
        command = [go, "install", "-v", "-trimpath", "-ldflags=-s -w", MODULE]
        with _log().open("ab") as log:
            log.write(f"go install {MODULE}\n".encode())
            log.flush()
            process = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        started = said = time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(0.2)
                now = time.monotonic()
                if now - started > _BUILD_S:
                    raise TemporalMissing(f"the build took more than an hour and was ended; see {_log()}")
                if now - said >= _SAY_EVERY_S:
                    said = now
                    say(f"  building, {now - started:.0f} s{_compiled()}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            tail = "\n".join(_log().read_text(errors="replace").splitlines()[-12:])
            raise TemporalMissing(f"`go install {MODULE}` failed; the end of its log ({_log()}):\n{tail}")
        _install(Path(folder) / "temporal")
    say("The Temporal server is built.")


def main() -> int:
    """Get the binary; what happens is said on standard output."""
    try:
        ensure(lambda line: print(line, flush=True))
    except TemporalMissing as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
