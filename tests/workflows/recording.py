"""Keeping a run's history for the replay tests: `PLANEBASE_RECORD_HISTORIES=1 pytest tests/workflows`."""

import json
import os
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

_HERE = {"identity": "worker", "stackTrace": "", "binaryChecksum": ""}
HISTORIES = Path(__file__).parent / "histories"


async def keep(handle: WorkflowHandle[Any, Any], name: str) -> None:
    """Write the history of a run as `name`.json, in the form of `temporal workflow show --output json`."""
    if os.environ.get("PLANEBASE_RECORD_HISTORIES"):
        history = _scrubbed(json.loads((await handle.fetch_history()).to_json()))
        (HISTORIES / f"{name}.json").write_text(json.dumps(_anywhere(history), indent=1) + "\n")


def _anywhere(part: Any) -> Any:
    """The same without what only the recording machine means: who worked, and from which files."""
    if isinstance(part, list):
        return [_anywhere(each) for each in part]
    if isinstance(part, dict):
        return {key: _HERE.get(key, _anywhere(value)) for key, value in part.items()}
    return part


def _scrubbed(value: Any) -> Any:
    """Leave out where and by whom it was recorded; a replay needs none of it."""
    if isinstance(value, list):
        return [_scrubbed(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _scrubbed(each) for name, each in value.items() if name not in ("identity", "stackTrace")}
