"""What the operator's verbs print, for people and for programs."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from core.ids import new
from planebase.operator import calls
from planebase.operator.calls import show
from planebase.options import Output


def test_without_a_terminal_a_row_is_one_line_however_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = [{"id": new(), "operation_id": new(), "name": "a name " * 20} for _ in range(3)]
    show(rows, Output.text, ("id", "operation_id", "name"))
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "operation_id", "name"]
    assert [line.split(maxsplit=2)[:2] for line in lines] == [
        [row["id"], row["operation_id"]] for row in rows
    ]
    show(rows[0], Output.text)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_refused_login_is_told_in_the_apis_own_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    admin = {"email": "a@example.com", "password": "x", "totp_secret": "JBSWY3DPEHPK3PXP" * 2}

    def refuse(*_: Any, **__: Any) -> httpx.Response:
        return httpx.Response(401, json={"detail": "e-mail, password or code is wrong"})

    monkeypatch.setattr(calls, "running", lambda _: {"admin": admin, "admin_api": "http://127.0.0.1:1"})
    monkeypatch.setattr(calls.httpx, "post", refuse)
    with pytest.raises(typer.Exit):
        calls.admin(tmp_path)
    assert capsys.readouterr().err == "the Admin API refused the login: e-mail, password or code is wrong\n"
