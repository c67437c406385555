"""`planebase wallets`: balance, ledger, top-up and adjustment."""

from typing import Annotated

import typer

from planebase.operator.calls import DataDirOption, Output, OutputOption, WaitOption, admin, control, show

app = typer.Typer(no_args_is_help=True, help="Wallets: what is in them, how it came there, put right.")


@app.command("show")
def show_one(tenant_id: str, output: OutputOption = Output.text, data_dir: DataDirOption = None) -> None:
    """Show a tenant's wallet."""
    show(control(data_dir).get(f"/tenants/{tenant_id}/wallet"), output)


@app.command()
def ledger(wallet_id: str, output: OutputOption = Output.text, data_dir: DataDirOption = None) -> None:
    """List every movement of a wallet, newest first."""
    rows = list(control(data_dir).every(f"/wallets/{wallet_id}/ledger", "entries"))
    show(
        rows,
        output,
        ("seq", "type", "amount_cents", "runs_delta", "balance_after_cents", "ref", "created_at"),
    )


@app.command()
def topup(
    wallet_id: str,
    amount_cents: Annotated[int, typer.Argument(min=1)],
    wait: WaitOption = True,
    output: OutputOption = Output.text,
    data_dir: DataDirOption = None,
) -> None:
    """Take a payment and put it into the wallet."""
    api = control(data_dir)
    answer = api.call("POST", f"/wallets/{wallet_id}/topups", json={"amount_cents": amount_cents})
    show(api.finished(answer, output) if wait else answer.json(), output)


@app.command()
def adjust(
    wallet_id: str,
    amount_cents: Annotated[
        int, typer.Argument(help="What to add; below zero takes away (write it after `--`).")
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit.")],
    ref: Annotated[str, typer.Option(help="The ticket; the same one twice adjusts once.")],
    output: OutputOption = Output.text,
    data_dir: DataDirOption = None,
) -> None:
    """Correct a balance by a ledger entry of its own."""
    body = {"amount_cents": amount_cents, "reason": reason, "ref": ref}
    show(admin(data_dir).call("POST", f"/wallets/{wallet_id}/adjustments", json=body).json(), output)
