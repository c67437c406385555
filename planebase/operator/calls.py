"""Calls to the APIs of the running stack, and how their answers are printed."""

import json
import secrets
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import pyotp
import typer
from rich.console import Console
from rich.table import Table

from planebase import files
from planebase.options import FAILED, DataDirOption, Output, OutputOption, running
from planebase.state import DataDir

__all__ = ["Api", "DataDirOption", "Output", "OutputOption", "WaitOption", "admin", "control", "show"]

_TIMEOUT_S = 30.0
_POLL_S = 0.2
_PATIENCE_S = 600.0
_TOTP_STEP_S = 30
_PIPED_WIDTH = 1_000_000


WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the operation to end.")]


class Api:
    """One API of the running stack, called as the portal (Control) or as the first admin (Admin)."""

    def __init__(self, base_url: str, bearer: str) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {bearer}"}, timeout=_TIMEOUT_S
        )

    def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Call, and end the command with the API's own words when it refuses."""
        headers = {} if method == "GET" else {"Idempotency-Key": secrets.token_hex(12)}
        try:
            answer = self._http.request(method, path, headers=headers, **kwargs)
        except httpx.TransportError as error:
            _end(f"{self._http.base_url} does not answer ({type(error).__name__}); see `planebase status`")
        if answer.is_error:
            _end(_refusal(answer))
        return answer

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a GET; parameters that are None are left out."""
        return self.call("GET", path, params={k: v for k, v in params.items() if v is not None}).json()

    def every(self, path: str, key: str) -> Iterable[dict[str, Any]]:
        """Every item of a list, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor)
            yield from page[key]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def finished(self, answer: httpx.Response, output: Output) -> dict[str, Any]:
        """Wait for the operation of a 202 and return it; its failure ends the command."""
        path = answer.headers["location"]
        deadline = time.monotonic() + _PATIENCE_S
        console = Console(stderr=True)
        with console.status("asked", spinner="dots") as shown:
            while True:
                operation: dict[str, Any] = self.get(path)
                if operation["state"] not in ("queued", "running"):
                    break
                if time.monotonic() > deadline:
                    _end(f"{path} is still {operation['state']} after {_PATIENCE_S:.0f} s; it goes on")
                if output is Output.text:
                    shown.update(f"{operation['state']} {operation['percent']} % {operation['step'] or ''}")
                time.sleep(_POLL_S)
        if operation["state"] != "succeeded":
            error = operation["error"] or {}
            _end(f"{path} {operation['state']}: {error.get('detail') or 'no reason was kept'}")
        return operation


def control(data_dir: Path | None) -> Api:
    """The Control API, as the portal."""
    now = running(data_dir)
    return Api(now["control_api"], now["portal_token"])


def admin(data_dir: Path | None) -> Api:
    """The Admin API, as the embedded stack's administrator; a session is kept while it lasts.

    A code works once, and one that is sent again counts as an attempt at a break-in: so this waits for the next.
    """
    now = running(data_dir)
    who, totp = now["admin"], pyotp.TOTP(now["admin"]["totp_secret"])
    kept_at = DataDir(data_dir).path / "operator-session.json"
    kept = files.read_json(kept_at)
    if _is_open(now["admin_api"], kept.get("token")):
        return Api(now["admin_api"], kept["token"])
    if kept.get("step") == int(time.time()) // _TOTP_STEP_S:
        print("The present one-time code was used; waiting for the next one.", file=sys.stderr)
        time.sleep(_TOTP_STEP_S - time.time() % _TOTP_STEP_S + 0.1)
    login: dict[str, Any] = httpx.post(
        now["admin_api"] + "/login",
        json={"email": who["email"], "password": who["password"], "totp": totp.now()},
        timeout=_TIMEOUT_S,
    ).json()
    files.write_json(kept_at, {"token": login.get("token"), "step": int(time.time()) // _TOTP_STEP_S})
    if "token" in login:
        return Api(now["admin_api"], login["token"])
    return _end(f"the Admin API refused the login: {login.get('detail', login)}")


def _is_open(base_url: str, token: str | None) -> bool:
    if token is None:
        return False
    answer = httpx.get(base_url + "/me", headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT_S)
    return answer.status_code == httpx.codes.OK


def show(value: Any, output: Output, columns: tuple[str, ...] = ()) -> None:
    """Print a list as a table or one thing as lines; with `-o json` exactly what the API answered."""
    if output is Output.json:
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    if isinstance(value, list):
        # A program that reads lines gets each row as one, however long.
        console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
        table = Table(box=None, pad_edge=False)
        for name in columns:
            table.add_column(name, overflow="fold", no_wrap=name == "id")
        for row in value:
            table.add_row(*(_text(row.get(name)) for name in columns))
        console.print(table if value else "none")
        return
    console = Console()
    for name in columns or tuple(value):
        console.print(f"[bold]{name}[/]  {_text(value.get(name))}", highlight=False, soft_wrap=True)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _refusal(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return f"{answer.status_code} {answer.text[:300]}"
    faults = [f"  {fault['pointer']}: {fault['detail']}" for fault in problem.get("errors", [])]
    return "\n".join([f"{problem.get('code')}: {problem.get('detail')}", *faults])


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(FAILED)
