"""The `planebase` command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from planebase import ports
from planebase.options import Output, OutputOption
from planebase.state import DEFAULT_PORT_BASE, DataDir, Ports, status

OK, FAILED, NOT_RUNNING = 0, 1, 3
EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no stack is running there."


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

DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="PLANEBASE_DATA_DIR",
        help="The stack's folder [default: .planebase in the checkout]",
    ),
]
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
    output: OutputOption = Output.text,
) -> None:
    """Start the whole platform; Ctrl-C stops it cleanly. Where it runs already, say where."""
    from planebase import launch

    folder = DataDir(data_dir)
    folder.create()
    quiet = output is Output.json
    try:
        if folder.is_running() and not launch.wait_until_ready(folder):
            launch.stop_running(folder)  # it is stopping: what is wanted is one that runs
        if detach and not folder.is_running():
            began = time.monotonic()
            launch.run_detached(folder, port_base, _say(quiet))
            _show_ready(folder, _after(time.monotonic() - began), output)
            return
        if not folder.claim(port_base):
            if not launch.wait_until_ready(folder):
                raise launch.Failed(
                    f"the stack in {folder.path} ended while it was starting; see {folder.logs}"
                )
            _show_ready(folder, "Planebase is already running.", output)
            return
        launch.run_here(
            folder,
            port_base,
            _say_with_time if supervise else _say(quiet),
            lambda took_s: None if supervise else _show_ready(folder, _after(took_s), output),
        )
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
    folder = DataDir(data_dir)
    if not folder.is_running() or not folder.secrets():
        print(f"No stack is running in {folder.path}.", file=sys.stderr)
        raise typer.Exit(NOT_RUNNING)
    if as_json or output is Output.json:
        print(json.dumps(status(folder), indent=2))
        return
    from planebase import report

    now = status(folder)
    report.show(now, "Planebase is running." if now["ready"] else "Planebase is starting.")
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
    """Do the main job on real data, on the running stack or else on its own, and show what was done."""
    from planebase import launch

    say = _say(quiet=output is Output.json)
    folder = DataDir(data_dir)
    folder.create()
    own = not folder.is_running()
    if own and port_base == DEFAULT_PORT_BASE and not all(map(ports.is_free, Ports(port_base).all.values())):
        port_base = ports.free_base()
        say(f"Ports from {DEFAULT_PORT_BASE} on are in use; this demo takes those from {port_base} on.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))  # so that what we started is stopped
    try:
        if own:
            # Tied to us: it stops in order even when we are killed.
            launch.run_detached(folder, port_base, say, tied=True)
        elif not launch.wait_until_ready(folder):
            raise launch.Failed(f"the stack in {folder.path} ended while it was starting; see {folder.logs}")
        story = import_module("planebase.demo")
        # What it tells a person must not stand in a program's answer.
        with contextlib.redirect_stdout(sys.stderr if output is Output.json else sys.stdout):
            code = int(asyncio.run((story.prove_runs if prove else story.run)(status(folder))))
        if output is Output.json:
            print(json.dumps({"done": code == 0, "demo": folder.demo()}))
    except launch.Failed as error:
        _fail(str(error))
    finally:
        if own:
            launch.stop_running(folder)
    raise typer.Exit(code)


@app.command(hidden=True)
def totp(data_dir: DataDirOption = None) -> None:
    """Print the embedded stack's administrator's one-time code of this moment."""
    import pyotp

    print(pyotp.TOTP(status(DataDir(data_dir))["admin"]["totp_secret"]).now())


def _show_ready(folder: DataDir, heading: str, output: Output) -> None:
    from planebase import report

    if output is Output.json:
        print(json.dumps(status(folder), indent=2), flush=True)
    else:
        report.show(status(folder), heading)
        sys.stdout.flush()


def _after(took_s: float) -> str:
    return f"Planebase is ready after {took_s:.1f} s."


def _say(quiet: bool) -> Any:
    def say(line: str) -> None:
        print(line, file=sys.stderr if quiet else sys.stdout, flush=True)

    return say


def _say_with_time(line: str) -> None:
    print(datetime.now().astimezone().isoformat(timespec="milliseconds"), line, flush=True)


def _fail(message: str) -> NoReturn:
    print(f"planebase: {message}", file=sys.stderr, flush=True)
    raise typer.Exit(FAILED)


def main() -> None:
    """Run the command, and end at once then: Temporal's client may abort an interpreter that winds down."""
    try:
        app()
    except SystemExit as error:
        code = error.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else FAILED if code else OK)


if __name__ == "__main__":
    main()
