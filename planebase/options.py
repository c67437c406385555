"""What the verbs of the command share: their options, their exit codes, and the stack that they ask."""

import enum
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from planebase import state

OK, FAILED, NOT_RUNNING = 0, 1, 3
EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no stack is running there, 130 ended by Ctrl-C."


class Output(enum.StrEnum):
    """How an answer is printed."""

    text = "text"
    json = "json"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="text for people, json for programs.")]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="PLANEBASE_DATA_DIR",
        help="The stack's folder.",
        show_default=".planebase in the checkout",
    ),
]


def running(data_dir: Path | None) -> dict[str, Any]:
    """The status of the stack that runs in `data_dir`; where there is none, say so and end the command."""
    folder = state.DataDir(data_dir)
    if folder.is_running() and folder.secrets():
        return state.status(folder)
    print(f"No stack is running in {folder.path}; start one with `make up`.", file=sys.stderr)
    raise typer.Exit(NOT_RUNNING)
