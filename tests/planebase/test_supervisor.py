"""A child is kept alive, stopped within its bound, and never outlives its parent."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from planebase import child
from planebase.child import Spec
from planebase.guard import Guard
from planebase.paths import ROOT
from planebase.supervisor import Service, StartFailed

STEADY = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STEADY}"


async def until(true: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110  (it is another process that we wait for)
            await asyncio.sleep(0.02)


async def says_up(service: Service) -> bool:
    return b"up" in service.output()


def service(tmp_path: Path, code: str, said: list[str] | None = None, stop_timeout_s: float = 2) -> Service:
    spec = Spec("probe", (sys.executable, "-c", code), tmp_path / "probe.log", stop_timeout_s=stop_timeout_s)
    return Service(lambda: spec, says_up, say=(said if said is not None else []).append)


async def test_a_killed_child_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    probe = service(tmp_path, STEADY, said)
    await probe.start()
    first = probe.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: probe.restarts == 1 and probe.state == "ready")
    assert probe.pid not in (None, first)
    assert said == ["probe ended (SIGKILL); starting it again in 0.2 s", "probe is back"]
    await probe.stop()
    assert probe.pid is None


async def test_a_child_that_dies_again_and_again_is_started_ever_more_slowly(tmp_path: Path) -> None:
    said: list[str] = []
    probe = service(tmp_path, STEADY, said)
    await probe.start()
    for restarts in (1, 2, 3):
        assert probe.pid is not None
        os.kill(probe.pid, signal.SIGKILL)
        await until(lambda n=restarts: probe.restarts == n and probe.state == "ready")  # type: ignore[misc]
    delays = [line.split(" in ")[1] for line in said if "again in" in line]
    assert delays == ["0.2 s", "0.4 s", "0.8 s"]
    await probe.stop()


async def test_a_child_that_does_not_heed_the_signal_is_ended_within_the_bound(tmp_path: Path) -> None:
    probe = service(tmp_path, STUBBORN, stop_timeout_s=0.3)
    await probe.start()
    began = time.monotonic()
    await probe.stop()
    assert probe.pid is None
    assert time.monotonic() - began < 2


async def test_a_child_that_cannot_start_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    probe = service(tmp_path, "raise SystemExit('no such setting')")
    with pytest.raises(StartFailed, match="no such setting"):
        await probe.start()
    await probe.stop()


def test_a_log_that_is_set_aside_stays_its_owners(tmp_path: Path) -> None:
    log, aside = tmp_path / "probe.log", tmp_path / "probe.log.1"
    aside.touch(mode=0o644)
    os.write(child.open_log(log), b"said")
    child.bound_log(log, max_bytes=3)
    assert (log.read_bytes(), aside.read_bytes()) == (b"", b"said")
    assert {stat.S_IMODE(file.stat().st_mode) for file in (log, aside)} == {0o600}


async def test_what_a_child_writes_is_its_owners(tmp_path: Path) -> None:
    probe = service(tmp_path, f"open({str(tmp_path / 'kept')!r}, 'w'); {STEADY}")
    await probe.start()
    await probe.stop()
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600


PARENT = """
    import pathlib, subprocess, sys, time
    from planebase import child, guard
    spec = child.Spec("orphan", (sys.executable, "-c", {code!r}), pathlib.Path({log!r}))
    if {guarded}:
        watch = guard.Guard()
        process = subprocess.Popen(spec.argv, start_new_session=True)
        watch.watch(process.pid, spec.orphan_signal)
    else:
        process = child.popen(spec)
    print(process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("guarded", [False, True], ids=["by the kernel", "by the guard"])
async def test_kill_9_of_the_parent_takes_the_child_with_it(tmp_path: Path, guarded: bool) -> None:
    if not guarded and sys.platform != "linux":
        pytest.skip("only Linux ties a child to its parent")
    code = textwrap.dedent(PARENT).format(code=STUBBORN, log=str(tmp_path / "orphan.log"), guarded=guarded)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    orphan = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await until(lambda: not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == "zombie")


def test_the_guard_spares_a_number_that_is_not_a_child_of_ours() -> None:
    bystander = subprocess.Popen([sys.executable, "-c", STEADY], stdout=subprocess.DEVNULL)
    guard = Guard()
    guard.watch(bystander.pid, signal.SIGKILL)
    guard.close()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
