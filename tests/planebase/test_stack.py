"""The whole stack by its command: it starts, says where it is, survives kill -9, leaves nothing running."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from planebase.paths import ROOT
from planebase.ports import free_base, is_free


@dataclass
class Command:
    """The `planebase` command for one stack."""

    data_dir: Path
    port_base: int

    def __call__(self, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        where = {"PLANEBASE_DATA_DIR": str(self.data_dir), "PLANEBASE_PORT_BASE": str(self.port_base)}
        return subprocess.run(
            [sys.executable, "-m", "planebase", *arguments],
            cwd=cwd,
            env=os.environ | where,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        answer = self("status", "--json")
        assert answer.returncode == 0, answer.stderr
        value: dict[str, Any] = json.loads(answer.stdout)
        return value

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        supervisor = psutil.Process(self.status()["pid"])
        return [supervisor, *supervisor.children(recursive=True)]


def until(true: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def planebase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    command = Command(tmp_path_factory.mktemp("stack") / "data", free_base())
    started = command("up", "--detach")
    assert started.returncode == 0, started.stdout + started.stderr
    yield command
    command("down")


def test_status_tells_all_that_outside_tools_rely_on(planebase: Command) -> None:
    status = planebase.status()
    assert status["ready"]
    assert {"data_api", "control_api", "admin_api", "portal_token", "demo"} <= status.keys()
    assert {"address", "namespace", "ui"} <= status["temporal"].keys()
    assert {"email", "password", "totp_secret"} <= status["admin"].keys()
    assert {"control", "audit", "activity", "alarms", "data"} <= status["databases"].keys()
    assert set(status["databases"]["data"]) == {"local"}
    assert set(status["roles"]["data_api"]) == {"control", "data", "activity"}
    for name in ("secrets.json", "stack.json"):
        assert stat.S_IMODE((planebase.data_dir / name).stat().st_mode) == 0o600
    for name, service in status["services"].items():
        assert service["state"] == "ready", name


def test_a_second_up_says_that_it_runs_already(planebase: Command, tmp_path: Path) -> None:
    second = planebase("up", cwd=tmp_path)
    assert second.returncode == 0
    assert "already running" in second.stdout
    assert planebase.status()["data_api"] in second.stdout


def test_another_stack_on_its_ports_is_refused_and_told_how_to_choose_others(
    planebase: Command, tmp_path: Path
) -> None:
    other = Command(tmp_path / "other", planebase.port_base)("up")
    assert other.returncode == 1
    assert "--port-base" in other.stderr
    assert "is in use by" in other.stderr


def test_no_child_listens_beyond_loopback(planebase: Command) -> None:
    for process in planebase.processes():
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1", process


def test_a_killed_child_is_back_by_itself(planebase: Command) -> None:
    before = planebase.status()["services"]
    for service in ("postgres", "temporal"):
        os.kill(before[service]["pid"], signal.SIGKILL)

    def back() -> bool:
        now = planebase.status()["services"]
        return all(now[name]["restarts"] == 1 for name in ("postgres", "temporal")) and all(
            service["state"] == "ready" for service in now.values()
        )

    until(back)


def test_kill_9_of_the_supervisor_leaves_nothing_and_the_next_up_recovers(planebase: Command) -> None:
    password = planebase.status()["admin"]["password"]
    processes = planebase.processes()
    processes[0].kill()
    until(lambda: all(gone(process) for process in processes))
    assert planebase("status", "--json").returncode == 3
    assert planebase("up", "--detach").returncode == 0
    assert planebase.status()["admin"]["password"] == password


def test_down_stops_everything_and_may_be_repeated(planebase: Command) -> None:
    processes = planebase.processes()
    assert planebase("down").returncode == 0
    assert all(gone(process) for process in processes)
    assert planebase("down").returncode == 0
    assert is_free(planebase.port_base)


def test_wrong_usage_has_its_own_exit_code(tmp_path: Path) -> None:
    assert Command(tmp_path, 8100)("up", "--port-base", "many").returncode == 2
