"""The verbs of the `planebase` command; the operator's are in `planebase.operator`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from planebase import ports
from planebase.options import EXIT_CODES, FAILED, DataDirOption, Output, OutputOption, running
from planebase.state import DEFAULT_PORT_BASE, DataDir, Ports, status
from planebase.supervisor import Say


class _Commands(typer.core.TyperGroup):
    """Our commands, plus the operator's, whose code is loaded only when one of them is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *sorted(self._operator())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or self._operator().get(cmd_name)

    @staticmethod
    def _operator() -> dict[str, Any]:
        verbs = typer.Typer()
        verbs.command(hidden=True)(lambda: None)  # Typer makes no group of fewer than two
        import_module("planebase.operator").register(verbs)
        commands = typer.main.get_group(verbs).commands
        return {name: verb for name, verb in commands.items() if not verb.hidden}


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Planebase on one machine: the whole platform, its demo, and the operator's verbs.",
    epilog=EXIT_CODES,
)

PortBaseOption = Annotated[
    int,
    typer.Option(
        "--port-base",
        envvar="PLANEBASE_PORT_BASE",
        min=1024,
        max=65000,
        help="The Data API's port; all others count from it.",
    ),
]


@app.command(epilog=EXIT_CODES)
def up(
    data_dir: DataDirOption = None,
    port_base: PortBaseOption = DEFAULT_PORT_BASE,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when it is ready; leave it running.")
    ] = False,
    supervise: Annotated[bool, typer.Option("--supervise", hidden=True)] = False,
    for_demo: Annotated[bool, typer.Option("--for-demo", hidden=True)] = False,
    output: OutputOption = Output.text,
) -> None:
    """Start the whole platform; Ctrl-C stops it cleanly. Where it runs already, say where.

    A stack that is starting or stopping is waited for, and so is a demo that runs on a stack of its own.
    """
    from planebase import launch

    folder = _folder(data_dir)
    say = _say(quiet=output is Output.json)

    def show(took_s: float) -> None:
        _show_ready(folder, f"Planebase is ready after {took_s:.1f} s.", output)

    try:
        if supervise:
            if not folder.claim(port_base, for_demo=for_demo):
                raise typer.Exit(launch.BUSY)
            launch.run_here(folder, port_base, _say_with_time, lambda _: None, for_demo=for_demo)
            return
        while not launch.is_there(folder, say):
            began = time.monotonic()
            if not detach:
                if folder.claim(port_base):
                    launch.run_here(folder, port_base, say, show)
                    return
            elif launch.run_detached(folder, port_base, say):
                show(time.monotonic() - began)
                return
        _show_ready(folder, "Planebase is already running.", output)
    except launch.Failed as error:
        _fail(str(error))


@app.command(epilog=EXIT_CODES)
def down(data_dir: DataDirOption = None, output: OutputOption = Output.text) -> None:
    """Stop the platform in order and wait until it is stopped; its data stays."""
    from planebase import launch

    folder = DataDir(data_dir)
    try:
        stopped = launch.stop_running(folder)
    except launch.Failed as error:
        _fail(str(error))
    if output is Output.json:
        print(json.dumps({"stopped": stopped}))
    else:
        print("Planebase is stopped." if stopped else f"No stack is running in {folder.path}.")


@app.command("status", epilog=EXIT_CODES)
def show_status(
    data_dir: DataDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Tell where the platform runs: addresses, credentials of the embedded stack, and its processes."""
    now = running(data_dir)
    if as_json or output is Output.json:
        print(json.dumps(now, indent=2))
        return
    from planebase import report

    state = "running" if now["ready"] else "stopping" if now["stopping"] else "starting"
    report.show(now, f"Planebase is {state}.")
    report.show_services(now)


@app.command(epilog=EXIT_CODES)
def demo(
    data_dir: DataDirOption = None,
    port_base: PortBaseOption = DEFAULT_PORT_BASE,
    prove: Annotated[
        bool, typer.Option("--prove", help="Only compare what earlier runs logged with the databases.")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Do the main job on real data, on the running stack or else on its own, and show what was done.

    With --prove: 0 when all that there is to compare is equal, 1 when something differs or nothing was compared.
    """
    from planebase import launch

    say = _say(quiet=output is Output.json)
    folder = _folder(data_dir)
    own = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))  # so that what we started is stopped
    try:
        while own is None and not launch.is_there(folder, say):
            # Tied to us: it stops in order even when we are killed.
            own = launch.run_detached(folder, _demo_ports(port_base, say), say, for_demo=True)
        story = import_module("planebase.demo")
        # What it tells a person must not stand in a program's answer.
        with contextlib.redirect_stdout(sys.stderr if output is Output.json else sys.stdout):
            code = int(asyncio.run((story.prove_runs if prove else story.run)(status(folder))))
        if output is Output.json:
            print(json.dumps({"done": code == 0, "demo": folder.demo()}))
    except launch.Failed as error:
        _fail(str(error))
    finally:
        if own is not None:
            launch.stop(own)
            say("The demo's own stack is stopped; its data stays, and `make up` opens it again.")
    raise typer.Exit(code)


@app.command(hidden=True)
def totp(data_dir: DataDirOption = None) -> None:
    """Print the embedded stack's administrator's one-time code of this moment."""
    import pyotp

    print(pyotp.TOTP(running(data_dir)["admin"]["totp_secret"]).now())


def _folder(data_dir: Path | None) -> DataDir:
    folder = DataDir(data_dir)
    try:
        folder.create()
    except OSError as error:
        _fail(f"{folder.path} cannot be the stack's folder: {error.strerror}")
    return folder


def _demo_ports(port_base: int, say: Say) -> int:
    """`port_base`, or where nobody chose it and it is in use, another."""
    if port_base != DEFAULT_PORT_BASE or all(map(ports.is_free, Ports(port_base).all.values())):
        return port_base
    free = ports.free_base()
    say(f"Ports from {DEFAULT_PORT_BASE} on are in use; this demo takes those from {free} on.")
    return free


def _show_ready(folder: DataDir, heading: str, output: Output) -> None:
    from planebase import report

    if output is Output.json:
        print(json.dumps(status(folder), indent=2), flush=True)
    else:
        report.show(status(folder), heading)
        sys.stdout.flush()


def _say(quiet: bool) -> Say:
    def say(line: str) -> None:
        print(line, file=sys.stderr if quiet else sys.stdout, flush=True)

    return say


def _say_with_time(line: str) -> None:
    print(datetime.now().astimezone().isoformat(timespec="milliseconds"), line, flush=True)


def _fail(message: str) -> NoReturn:
    print(f"planebase: {message}", file=sys.stderr, flush=True)
    raise typer.Exit(FAILED)
