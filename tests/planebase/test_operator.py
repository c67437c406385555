"""What the operator's verbs print, for people and for programs."""

import pytest

from core.ids import new
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
