"""`planebase tenants`: list, show, create, suspend, resume."""

from typing import Annotated

import typer

from planebase.operator.calls import DataDirOption, Output, OutputOption, WaitOption, admin, control, show

app = typer.Typer(no_args_is_help=True, help="Tenants: who is here, and whether they may work.")
_COLUMNS = ("id", "slug", "name", "region", "status", "created_at")


@app.command("list")
def list_(output: OutputOption = Output.text, data_dir: DataDirOption = None) -> None:
    """List all tenants."""
    show(list(control(data_dir).every("/tenants", "tenants")), output, _COLUMNS)


@app.command("show")
def show_one(tenant_id: str, output: OutputOption = Output.text, data_dir: DataDirOption = None) -> None:
    """Show one tenant."""
    show(control(data_dir).get(f"/tenants/{tenant_id}"), output)


@app.command()
def create(
    slug: str,
    name: Annotated[str | None, typer.Option(help="What people read; the slug if left out.")] = None,
    region: Annotated[str | None, typer.Option(help="Where its data lives.")] = None,
    plan: Annotated[str, typer.Option(help="The code of its plan.")] = "free",
    wait: WaitOption = True,
    output: OutputOption = Output.text,
    data_dir: DataDirOption = None,
) -> None:
    """Provision a tenant."""
    api = control(data_dir)
    body = {"slug": slug, "name": name or slug, "plan_code": plan} | ({"region": region} if region else {})
    answer = api.call("POST", "/tenants", json=body)
    if not wait:
        show(answer.json(), output)
        return
    show(api.get(f"/tenants/{api.finished(answer, output)['tenant_id']}"), output)


@app.command()
def suspend(
    tenant_id: str,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit.")],
    output: OutputOption = Output.text,
    data_dir: DataDirOption = None,
) -> None:
    """Refuse the tenant's calls from now on; its data is kept."""
    show(
        admin(data_dir).call("POST", f"/tenants/{tenant_id}/suspend", json={"reason": reason}).json(), output
    )


@app.command()
def resume(
    tenant_id: str,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit.")],
    output: OutputOption = Output.text,
    data_dir: DataDirOption = None,
) -> None:
    """Let a suspended tenant work again."""
    show(admin(data_dir).call("POST", f"/tenants/{tenant_id}/resume", json={"reason": reason}).json(), output)
