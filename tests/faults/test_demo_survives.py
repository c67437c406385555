"""Kill any process while the demo runs: its own log still equals the databases, id by id."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planebase.paths import ROOT
from planebase.ports import free_base
from planebase.state import DataDir, status

PLANEBASE = [sys.executable, "-m", "planebase"]
# Who is killed, while the demo is at the step whose title begins so. Every process dies at least once.
PLANS = [
    [("temporal", "Provision"), ("data-api", "Load"), ("worker", "Meter")],
    [("sandbox", "Top up"), ("worker", "Apply"), ("postgres", "Load"), ("control-api", "Meter")],
    [("worker", "Provision"), ("admin-api", "Load"), ("postgres", "Meter")],
]
PATIENCE_S = 150


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataDir]:
    """A whole platform of its own, as `make up` starts it."""
    folder = DataDir(tmp_path_factory.mktemp("stack") / "data")
    base = free_base()
    _command("up", "--detach", "--data-dir", str(folder.path), "--port-base", str(base))
    yield folder
    _command("down", "--data-dir", str(folder.path))
    shutil.rmtree(folder.path, ignore_errors=True)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: "+".join(victim for victim, _ in plan))
def test_the_demo_ends_well_whoever_is_killed(stack: DataDir, plan: list[tuple[str, str]]) -> None:
    demo = _demo(stack)
    for victim, step in plan:
        _wait_for_step(stack, demo, step)
        os.kill(status(stack)["services"][victim]["pid"], signal.SIGKILL)
    said = demo.communicate(timeout=PATIENCE_S)[0]
    assert demo.returncode == 0, said[-6000:]
    assert "NO" not in said.split("What was proved")[1].split("Every workflow run")[0]


def test_the_whole_stack_is_killed_and_started_again_under_the_demo(stack: DataDir) -> None:
    base = status(stack)["data_api"].rpartition(":")[2]
    demo = _demo(stack)
    _wait_for_step(stack, demo, "Load")
    os.kill(status(stack)["pid"], signal.SIGKILL)
    _command("up", "--detach", "--data-dir", str(stack.path), "--port-base", base)
    said = demo.communicate(timeout=PATIENCE_S)[0]
    assert demo.returncode == 0, said[-6000:]
    proved = _command("demo", "--prove", "--data-dir", str(stack.path))
    assert " NO " not in proved


def _demo(stack: DataDir) -> subprocess.Popen[str]:
    before = set((stack.path / "demo").glob("*"))
    demo = subprocess.Popen(
        [*PLANEBASE, "demo", "--data-dir", str(stack.path)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _until(
        lambda: set((stack.path / "demo").glob("*/client.jsonl")) != {p / "client.jsonl" for p in before},
        demo,
    )
    return demo


def _wait_for_step(stack: DataDir, demo: subprocess.Popen[str], title: str) -> None:
    log = max((stack.path / "demo").glob("*/client.jsonl"))
    _until(lambda: any(line.get("title", "").startswith(title) for line in _lines(log)), demo)
    # Somewhere inside the step: no two runs hit the same place.
    time.sleep(random.uniform(0.02, 0.4))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def _until(done: Any, demo: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert demo.poll() is None, demo.communicate()[0][-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _command(*words: str) -> str:
    done = subprocess.run(
        [*PLANEBASE, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
