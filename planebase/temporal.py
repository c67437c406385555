"""The real Temporal server and its UI as one process with its state in a file: a restart keeps every run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from planebase import child, temporal_cli
from planebase.files import Lock
from planebase.ports import HOST, answers, is_free

NAMESPACE = "default"
SEARCH_ATTRIBUTES = {
    "TenantId": "Keyword",
    "BaseId": "Keyword",
    "Kind": "Keyword",
    "Phase": "Keyword",
    "OperationId": "Keyword",
    "NeedsHuman": "Bool",
}
# Measured: twice the throughput for a third less CPU, and no run lost by kill -9.
_TUNING = (
    *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"),
    *("--dynamic-config-value", "system.enableActivityEagerExecution=true"),
    *("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
    *("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
)


class TemporalError(RuntimeError):
    """The Temporal server could not be started; the message says why."""


class Server:
    """One Temporal server with its file under `data_dir`, on 127.0.0.1; started again it has the same runs.

    `start()` and `stop()` are all that a test needs; a supervisor calls `prepare()` and runs `spec()` itself.
    """

    def __init__(
        self,
        data_dir: Path | str,
        port: int,
        ui_port: int,
        *,
        options: tuple[str, ...] = (),
        log: Path | None = None,
        say: temporal_cli.Say = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.port = port
        self.ui_port = ui_port
        self.log = log or self.data_dir / "temporal.log"
        self._options = options
        self._say = say
        self._binary: Path | None = None
        # Two servers on one file would both run: the first lock is ours, the second the server's own.
        self._owner = Lock(self.data_dir / "owner.lock")
        self._file = Lock(self.data_dir / "temporal.db.lock")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def ui(self) -> str:
        return f"http://{HOST}:{self.ui_port}"

    @property
    def database(self) -> Path:
        return self.data_dir / "temporal.db"

    def prepare(self) -> None:
        """Get the binary and the file; a server that an earlier, killed run left behind is ended."""
        self._binary = temporal_cli.ensure(self._say)
        # Payloads are in the file in clear.
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._owner.acquire(timeout_s=0.5):
            raise TemporalError(f"another process is using the Temporal files in {self.data_dir}")
        if not self._file.acquire(timeout_s=1):
            # The owner's lock is ours, so a server on this file is an orphan.
            child.end_orphans(str(self.database), (signal.SIGTERM,), wait_s=5)
            if not self._file.acquire(timeout_s=5):
                raise TemporalError(f"a Temporal server that we cannot stop is still using {self.database}")

    def spec(self) -> child.Spec:
        """How to run the server."""
        if self._binary is None:
            raise TemporalError("prepare() has not run")
        attributes = [
            word for name in SEARCH_ATTRIBUTES.items() for word in ("--search-attribute", "=".join(name))
        ]
        return child.Spec(
            name="temporal",
            argv=(
                *(
                    str(self._binary),
                    "server",
                    "start-dev",
                    "--db-filename",
                    str(self.database),
                    "--ip",
                    HOST,
                ),
                *("--port", str(self.port), "--ui-port", str(self.ui_port), "--log-level", "error"),
                *_TUNING,
                *attributes,
                *self._options,
            ),
            log=self.log,
            keep_fds=(self._file.fd,),
            stop_timeout_s=10,
        )

    def is_ready(self) -> bool:
        """Whether the server answers for its namespace; asked by way of the UI, so that is ready too."""
        return answers(f"{self.ui}/api/v1/namespaces/{NAMESPACE}")

    def start(self, timeout_s: float = 60) -> Self:
        """Start the server and return when it answers; it never outlives this thread."""
        self.prepare()
        taken = [str(port) for port in (self.port, self.ui_port) if not is_free(port)]
        if taken:
            self.stop()
            raise TemporalError(f"port {' and '.join(taken)} on {HOST} is in use by another program")
        self._process = child.popen(self.spec())
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise TemporalError(f"Temporal did not start; its log:\n{child.log_tail(self.log)}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Stop the server and give up its file. Repeating it changes nothing."""
        if self._process is not None:
            child.stop(self._process, self.spec())
            self._process = None
        self._file.release()
        self._owner.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
