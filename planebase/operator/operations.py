"""`planebase operations`: what is under way, how far it is, and asking it to stop."""

from typing import Annotated

import typer

from planebase.operator.calls import DataDirOption, Output, OutputOption, control, show

app = typer.Typer(no_args_is_help=True, help="Long work: list, show, cancel.")
_COLUMNS = ("id", "kind", "state", "percent", "step", "requested_by", "created_at")


@app.command("list")
def list_(
    tenant_id: str,
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or canceled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 50,
    output: OutputOption = Output.text,
    data_dir: DataDirOption = None,
) -> None:
    """List a tenant's operations, newest first."""
    page = control(data_dir).get(f"/tenants/{tenant_id}/operations", state=state, limit=limit)
    show(page if output is Output.json else page["operations"], output, _COLUMNS)


@app.command("show")
def show_one(operation_id: str, output: OutputOption = Output.text, data_dir: DataDirOption = None) -> None:
    """Show one operation, with the link to its run."""
    show(control(data_dir).get(f"/operations/{operation_id}"), output)


@app.command()
def cancel(operation_id: str, output: OutputOption = Output.text, data_dir: DataDirOption = None) -> None:
    """Ask an operation to stop; what it has done is undone."""
    show(control(data_dir).call("POST", f"/operations/{operation_id}/cancel").json(), output)
