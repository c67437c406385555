"""The option that every verb of the command has: how an answer is printed."""

import enum
from typing import Annotated

import typer


class Output(enum.StrEnum):
    """How an answer is printed."""

    text = "text"
    json = "json"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="text for people, json for programs.")]
