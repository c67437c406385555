"""The client's own log: each call before it is sent and each answer, for anyone to compare."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Journal:
    """An append-only file of JSON lines; a line is written whole before the call goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, kind: str, **what: Any) -> None:
        """Append one line."""
        self._file.write(json.dumps({"kind": kind, **what}, default=str).encode() + b"\n")

    def close(self) -> None:
        """Force it to disk and close."""
        os.fsync(self._file.fileno())
        self._file.close()


@dataclass(frozen=True)
class Written:
    """One version of one record that the platform acknowledged."""

    table_id: str
    record_id: str
    version: int
    action: str
    fields: dict[str, Any] | None
    operation_id: str


@dataclass(frozen=True)
class Log:
    """What one run's client knows: what was acknowledged, what it never heard of, and its names."""

    run: dict[str, Any]
    written: list[Written]
    unanswered: list[dict[str, Any]]
    lines: list[dict[str, Any]]

    def last(self) -> dict[tuple[str, str], Written]:
        """The newest acknowledged version of each record, by table and id."""
        newest: dict[tuple[str, str], Written] = {}
        for item in self.written:
            key = (item.table_id, item.record_id)
            if key not in newest or newest[key].version < item.version:
                newest[key] = item
        return newest


def read(path: Path) -> Log:
    """Read a client log; a torn last line (the client was killed) counts as not written."""
    lines = list(_lines(path))
    answered = {line["key"] for line in lines if line["kind"] == "answer"}
    run: dict[str, Any] = {}
    for line in lines:
        if line["kind"] == "know":
            run |= {key: value for key, value in line.items() if key != "kind"}
    return Log(
        run=run,
        written=[
            Written(**item) for line in lines if line["kind"] == "answer" for item in line.get("written", [])
        ],
        unanswered=[line for line in lines if line["kind"] == "send" and line["key"] not in answered],
        lines=lines,
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for raw in path.read_bytes().split(b"\n"):
        try:
            yield json.loads(raw)
        except ValueError:
            continue
