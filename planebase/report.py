"""How a stack is shown to a person: a table on a terminal, the same words plainly elsewhere."""

from __future__ import annotations

import shlex
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from planebase.paths import ROOT, VENV

_PLACES = (("Data API", "data_api"), ("Control API", "control_api"), ("Admin API", "admin_api"))


def show(status: dict[str, Any], heading: str, console: Console | None = None) -> None:
    """Print where everything is, a `curl` for each API that works as it stands, and how to stop."""
    console = console or Console()
    rows = [*((name, status[key]) for name, key in _PLACES), ("Temporal UI", status["temporal"]["ui"])]
    rows += [("Logs", status["logs"]), ("Stop", _stop_command(status))]
    calls = _calls(status)
    if not console.is_terminal:
        _plain(heading, rows, calls)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name, style="bold"), Text(value, style="cyan", overflow="fold"))
    console.print(Panel(table, title=heading, title_align="left", expand=False))
    # Outside the panel, each on one line of the terminal's own making, so that it can be copied whole.
    for name, call in calls:
        console.print(Text(name, style="bold"))
        console.file.write(f"{call}\n")


def show_services(status: dict[str, Any], console: Console | None = None) -> None:
    """Print each process with its state, process id and number of restarts."""
    console = console or Console()
    services: dict[str, dict[str, Any]] = status["services"]
    if not console.is_terminal:
        for name, service in services.items():
            print(f"{name}: {service['state']}, process {service['pid']}, {service['restarts']} restarts")
        return
    table = Table("process", "state", "pid", "restarts", "log", box=None)
    for name, service in services.items():
        style = "green" if service["state"] == "ready" else "yellow"
        table.add_row(
            name,
            Text(service["state"], style=style),
            str(service["pid"]),
            str(service["restarts"]),
            service["log"],
        )
    console.print(table)


def _plain(heading: str, rows: list[tuple[str, str]], calls: list[tuple[str, str]]) -> None:
    print(heading)
    for name, value in rows:
        print(f"  {name + ':':<13}{value}")
    for name, call in calls:
        print(f"{name}\n  {call}")


def _calls(status: dict[str, Any]) -> list[tuple[str, str]]:
    """A ready-to-paste call for each API."""
    demo, admin = status["demo"], status["admin"]
    portal = shlex.quote(f"Authorization: Bearer {status['portal_token']}")
    if demo:
        token = shlex.quote(f"Authorization: Bearer {demo['token']}")
        records = f"{status['data_api']}/bases/{demo['base_id']}/tables/{demo['table_id']}/records?limit=3"
        data = ("Data API: records of the demo's table", f"curl -s -H {token} {shlex.quote(records)}")
    else:
        data = ("Data API (`make demo` makes a base and a token)", f"curl -s {status['data_api']}/healthz")
    login = (
        f'{{"email":"{admin["email"]}","password":"{admin["password"]}",'
        f'"totp":"\'$({_totp_command(status)})\'"}}'
    )
    return [
        data,
        ("Control API: the tenants", f"curl -s -H {portal} {status['control_api']}/tenants"),
        (
            "Admin API: log in",
            f"curl -s -X POST -H 'Content-Type: application/json' {status['admin_api']}/login -d '{login}'",
        ),
    ]


def _totp_command(status: dict[str, Any]) -> str:
    program = shlex.quote(str(VENV / "bin" / "planebase"))
    return f"{program} totp --data-dir {shlex.quote(status['data_dir'])}"


def _stop_command(status: dict[str, Any]) -> str:
    if status["data_dir"] == str(ROOT / ".planebase"):
        return "Ctrl-C in its terminal, or `make down`"
    return f"Ctrl-C in its terminal, or `make down DATA_DIR={shlex.quote(status['data_dir'])}`"
