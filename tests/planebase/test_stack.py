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

from planebase import launch
from planebase.paths import ROOT
from planebase.ports import free_base, is_free
from planebase.state import DataDir


@dataclass
class Command:
    """The `planebase` command for one stack."""

    data_dir: Path
    port_base: int

    def __call__(self, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return self.ended(self.begin(*arguments, cwd=cwd))

    def begin(self, *arguments: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
        where = {"PLANEBASE_DATA_DIR": str(self.data_dir), "PLANEBASE_PORT_BASE": str(self.port_base)}
        return subprocess.Popen(
            [sys.executable, "-m", "planebase", *arguments],
            cwd=cwd,
            env=os.environ | where,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, begun: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        out, errors = begun.communicate(timeout=120)
        return subprocess.CompletedProcess(begun.args, begun.returncode, out, errors)

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


def test_up_beside_a_stack_that_is_stopping_waits_for_its_end_and_starts_another(planebase: Command) -> None:
    first = planebase.status()["pid"]
    os.kill(first, signal.SIGTERM)
    until(lambda: DataDir(planebase.data_dir).stack()["stopping"])
    up = planebase("up", "--detach")
    assert up.returncode == 0, up.stderr
    assert f"stopping here (process {first}" in up.stdout
    assert "Planebase is ready after" in up.stdout
    assert planebase.status()["ready"]
    assert planebase.status()["pid"] != first


def test_up_beside_a_demos_own_stack_waits_for_its_end_and_starts_one_that_stays(planebase: Command) -> None:
    planebase("down")
    folder = DataDir(planebase.data_dir)
    demos = launch.run_detached(folder, planebase.port_base, lambda _: None, for_demo=True)
    assert demos is not None
    up, impatient = planebase.begin("up", "--detach"), planebase.begin("up")
    for waiting in (up, impatient):
        assert waiting.stdout is not None
        assert waiting.stdout.readline().startswith("A demo runs here on a stack of its own")
    impatient.send_signal(signal.SIGINT)
    assert (planebase.ended(impatient).returncode, planebase.ended(impatient).stderr) == (130, "")
    assert planebase.status()["pid"] == demos.pid
    launch.stop(demos)
    launch.stop(demos)  # by now another's place, which it leaves alone
    ended = planebase.ended(up)
    assert ended.returncode == 0, ended.stderr
    assert planebase.status()["ready"]
    assert planebase.status()["pid"] != demos.pid


def test_of_two_ups_at_once_one_starts_it_and_the_other_says_where(planebase: Command) -> None:
    planebase("down")
    both = [planebase.begin("up", "--detach") for _ in range(2)]
    ended = [planebase.ended(up) for up in both]
    assert [up.returncode for up in ended] == [0, 0], ended
    assert sum("already running" in up.stdout for up in ended) == 1


def test_down_stops_everything_and_may_be_repeated(planebase: Command) -> None:
    processes = planebase.processes()
    assert planebase("down").returncode == 0
    assert all(gone(process) for process in processes)
    assert planebase("down").returncode == 0
    assert is_free(planebase.port_base)


@pytest.mark.parametrize("is_there", [False, True], ids=["no folder", "a folder"])
def test_where_nothing_runs_each_verb_says_so(tmp_path: Path, is_there: bool) -> None:
    planebase = Command(tmp_path if is_there else tmp_path / "none", 8100)
    for verb in (("status",), ("status", "--json"), ("totp",), ("tenants", "list")):
        answer = planebase(*verb)
        assert (answer.returncode, answer.stdout) == (3, ""), verb
        assert answer.stderr == f"No stack is running in {planebase.data_dir}; start one with `make up`.\n"
    down = planebase("down")
    assert (down.returncode, down.stdout) == (0, f"No stack is running in {planebase.data_dir}.\n")
    assert planebase.data_dir.exists() == is_there


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for verb in ("up", "demo"):
        for data_dir in (tmp_path / "file", tmp_path / "file" / "below"):
            answer = Command(data_dir, 8100)(verb)
            assert (answer.returncode, answer.stdout) == (1, "")
            assert answer.stderr.startswith(f"planebase: {data_dir} cannot be the stack's folder: ")


# Whoever imports the first library of ours gets the signal: no program is loaded earlier.
INTERRUPTED_AT_ONCE = """
import os, signal, sys
class Signal:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Signal())
from planebase.__main__ import main
main()
"""


def test_ctrl_c_in_the_first_moment_ends_it_without_a_word() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_ONCE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_wrong_usage_has_its_own_exit_code(tmp_path: Path) -> None:
    assert Command(tmp_path, 8100)("up", "--port-base", "many").returncode == 2
