"""The operator's verbs of the `planebase` command: the same calls as the portal's and the Admin API's."""

import typer

from planebase.operator import operations, schema, tenants, wallets

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the groups of verbs to `app`."""
    app.add_typer(tenants.app, name="tenants")
    app.add_typer(schema.app, name="schema")
    app.add_typer(wallets.app, name="wallets")
    app.add_typer(operations.app, name="operations")
