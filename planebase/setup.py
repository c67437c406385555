"""`python3 -m planebase.setup`: everything that a checkout needs, installed once. Standard library only.

It makes .venv and installs the locked dependencies (their hashes are checked) and the project itself. The
Temporal server is fetched or built in the background; nothing waits for it until a server is started.
"""

from __future__ import annotations

import os
import sys

UV = "uv==0.13.9"
OLDEST = (3, 11)


def main() -> int:
    """Set up what is not set up yet; a second run sees that in a few milliseconds."""
    if sys.version_info < OLDEST:
        return _with_newer_python()
    from planebase.paths import ROOT, VENV, cache_dir

    stamp = VENV / "planebase-setup"
    if not (cache_dir() / "bin" / "temporal").exists():
        _begin_temporal()
    if _is_done(stamp, VENV, ROOT):
        return 0
    import fcntl

    # The lock is on a file that is there anyway; two set-ups of one checkout take turns.
    with (ROOT / "pyproject.toml").open("r+b") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another set-up of this checkout is running; waiting for it.")
            fcntl.flock(turn, fcntl.LOCK_EX)
        if _is_done(stamp, VENV, ROOT):
            return 0
        stamp.unlink(missing_ok=True)
        try:
            _install(VENV, ROOT)
        except _StepFailed as failure:
            print(f"Set-up failed: {failure}", file=sys.stderr, flush=True)
            return 1
        stamp.write_text(_fingerprint(ROOT))
    return 0


class _StepFailed(Exception):
    """A command failed; the message holds what it said."""


def _with_newer_python() -> int:
    import shutil
    import subprocess

    for name in ("python3.13", "python3.12", "python3.11"):
        path = shutil.which(name)
        # Asked, since a version manager may put a name on PATH that leads nowhere.
        if (
            path
            and subprocess.call([path, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
        ):
            os.execv(path, [path, "-m", "planebase.setup"])  # noqa: S606
    have = f"{sys.version_info[0]}.{sys.version_info[1]}"
    print(
        f"Planebase needs Python 3.11 or later. This is {have}, and there is no python3.11, python3.12 or"
        " python3.13 on PATH. Install one (`apt install python3 python3-venv`, `brew install python@3.12`,"
        " or https://www.python.org/downloads) and run this again.",
        file=sys.stderr,
    )
    return 1


def _begin_temporal() -> None:
    from planebase import temporal_cli

    try:
        if temporal_cli.find() is None and not temporal_cli.is_under_way():
            temporal_cli.start_in_background()
            _say(
                "Fetching the Temporal server, which runs the long operations, in the background, or building"
                " it if that cannot be (about 5 minutes, once per user). Nothing else waits for it."
            )
    except temporal_cli.TemporalMissing as error:
        _say(f"Note: {error}.")  # it is needed, and will stop things, only when a server is to start


def _fingerprint(root: os.PathLike[str]) -> str:
    import hashlib

    digest = hashlib.sha256(f"{UV} {root}".encode())  # a moved checkout's scripts point to nowhere
    for name in ("requirements.lock", "pyproject.toml"):
        with open(os.path.join(root, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest() + "\n"


def _is_done(stamp: os.PathLike[str], venv: os.PathLike[str], root: os.PathLike[str]) -> bool:
    programs = ("python", "planebase")
    if not all(os.path.exists(os.path.join(venv, "bin", program)) for program in programs):
        return False
    try:
        with open(stamp) as file:
            return file.read() == _fingerprint(root)
    except FileNotFoundError:
        return False


def _install(venv: os.PathLike[str], root: os.PathLike[str]) -> None:
    python, uv = os.path.join(venv, "bin", "python"), os.path.join(venv, "bin", "uv")
    lock = os.path.join(root, "requirements.lock")
    if not _works(python):
        _step(
            "Making a virtual environment in .venv, so that nothing outside this checkout is changed",
            [getattr(sys, "_base_executable", sys.executable), "-m", "venv", "--clear", str(venv)],
            "If it says that ensurepip is missing: `apt install python3-venv`.",
        )
    if not _works(uv, "--version", expect=UV.replace("==", " ")):
        _step(
            "Installing uv, which installs the rest quickly",
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV],
        )
    with open(lock) as file:
        count = sum(1 for line in file if "==" in line)
    _step(
        f"Installing the locked dependencies, each checked by its hash ({count} packages, 200 MB, once)",
        [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, lock],
    )
    _step(
        "Installing the command `planebase` into .venv",
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", python, "--editable", str(root)],
    )


def _works(program: str, *arguments: str, expect: str = "") -> bool:
    import subprocess

    try:
        done = subprocess.run(
            [program, *(arguments or ("-c", "import pip"))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0 and expect in done.stdout


def _step(what: str, command: list[str], hint: str = "") -> None:
    import subprocess
    import time

    _say(f"{what} …")
    began = time.monotonic()
    done = subprocess.run(
        command,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise _StepFailed("\n".join((" ".join(command), done.stdout.strip(), hint)).strip())
    _say(f"  done in {time.monotonic() - began:.0f} s")


def _environment() -> dict[str, str]:
    """Ours, with what pip was told about the network told to uv as well."""
    env = dict(os.environ)
    for pip, uv in (("PIP_CERT", "SSL_CERT_FILE"), ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")):
        if env.get(pip):
            env.setdefault(uv, env[pip])
    env.setdefault("UV_HTTP_TIMEOUT", "120")
    env.pop("VIRTUAL_ENV", None)
    return env


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        _say("Set-up is stopped; the next call goes on with it.")
        sys.exit(130)
