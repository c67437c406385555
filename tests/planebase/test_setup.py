"""Set-up and the Makefile: quick when nothing is to do, from any folder."""

import subprocess
import sys
import time
from pathlib import Path

from typer.testing import CliRunner

from planebase import setup
from planebase.cli import app
from planebase.paths import ROOT, VENV


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_second_set_up_is_silent_and_instant() -> None:
    assert run(sys.executable, "-m", "planebase.setup").returncode == 0
    took_s = []
    for _ in range(3):
        began = time.monotonic()
        done = run(sys.executable, "-S", "-m", "planebase.setup")
        took_s.append(time.monotonic() - began)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert min(took_s) < 0.2  # 0.04 s on a machine that does nothing else


def test_what_the_lock_says_changes_what_is_installed(tmp_path: Path) -> None:
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("one")
    before = setup._fingerprint(tmp_path)
    (tmp_path / "requirements.lock").write_text("two")
    assert setup._fingerprint(tmp_path) != before
    assert not setup._is_done(VENV / "planebase-setup", VENV, tmp_path)


def test_make_works_from_any_folder_and_alone_prints_help(tmp_path: Path) -> None:
    alone = run("make", "-C", str(ROOT), cwd=tmp_path)
    assert alone.returncode == 0
    for target in ("demo", "up", "down", "test", "check", "bench", "migration", "fmt", "docs"):
        assert f"make {target} " in alone.stdout
    assert run("make", "-f", str(ROOT / "Makefile"), "help", cwd=tmp_path).returncode == 0


def test_the_command_is_installed_and_documents_its_exit_codes() -> None:
    assert run(str(VENV / "bin" / "planebase"), "--help").returncode == 0
    for arguments in ((), ("up",), ("down",), ("status",), ("demo",)):
        answer = CliRunner().invoke(app, [*arguments, "--help"])
        assert answer.exit_code == 0
        assert "3 no stack is running" in " ".join(answer.stdout.split())
    assert "nothing was compared" in " ".join(CliRunner().invoke(app, ["demo", "--help"]).stdout.split())
