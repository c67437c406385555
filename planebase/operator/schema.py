"""`planebase schema`: show, plan and apply the schema of a base."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from planebase.operator.calls import DataDirOption, Output, OutputOption, WaitOption, control, show

app = typer.Typer(no_args_is_help=True, help="Schemas of bases: what is, what would change, change it.")
SpecFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help='JSON: {"tables": […]}')]


@app.command("show")
def show_one(base_id: str, output: OutputOption = Output.json, data_dir: DataDirOption = None) -> None:
    """Print the schema that a base has, with ids; edit it and give it to `plan` or `apply`."""
    show(control(data_dir).get(f"/bases/{base_id}/schema"), output)


@app.command()
def versions(base_id: str, output: OutputOption = Output.text, data_dir: DataDirOption = None) -> None:
    """List the versions of a base's schema."""
    rows = list(control(data_dir).every(f"/bases/{base_id}/schema/versions", "versions"))
    show(rows, output, ("version", "state", "created_at", "applied_at", "ddl_hash", "operation_id"))


@app.command()
def plan(
    base_id: str, spec: SpecFile, output: OutputOption = Output.text, data_dir: DataDirOption = None
) -> None:
    """Say step by step what `apply` would do; nothing is changed."""
    body = {"spec": _read(spec), "dry_run": True}
    answer = control(data_dir).call("PUT", f"/bases/{base_id}/schema", json=body).json()
    show(
        answer if output is Output.json else answer["steps"],
        output,
        ("label", "lock", "destructive", "confirmation"),
    )


@app.command("apply")
def apply_(
    base_id: str,
    spec: SpecFile,
    confirm: Annotated[
        list[str] | None, typer.Option(help="A step that loses something, as `plan` names it.")
    ] = None,
    wait: WaitOption = True,
    output: OutputOption = Output.text,
    data_dir: DataDirOption = None,
) -> None:
    """Bring a base to the spec."""
    api = control(data_dir)
    body = {"spec": _read(spec), "confirm": confirm or []}
    answer = api.call("PUT", f"/bases/{base_id}/schema", json=body)
    show(api.finished(answer, output) if wait else answer.json(), output)


def _read(path: Path) -> Any:
    try:
        spec = json.loads(path.read_text())
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not JSON: {error}") from error
    return spec.get("spec", spec) if isinstance(spec, dict) else spec
