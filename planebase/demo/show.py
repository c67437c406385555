"""What the demo shows: progress, then tables of what was done, what was proved and every run."""

import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from temporalio.client import Client

from planebase.demo.journal import Journal
from planebase.demo.proof import Check

__all__ = ["Show", "runs"]

_SHOWN = 3


@dataclass
class Show:
    """Collects what was done; `console` writes plain lines where nobody looks at a terminal."""

    journal: Journal | None
    console: Console = field(default_factory=lambda: Console(stderr=False, highlight=False, width=_width()))
    done: list[tuple[str, str, str]] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator["Step"]:
        """One step of the story: its line appears when it begins, its outcome when it ends."""
        began = time.monotonic()
        self.console.print(f"[bold]•[/] {title} …")
        if self.journal is not None:
            self.journal.write("step", title=title)
        step = Step(self.console)
        yield step
        took = f"{time.monotonic() - began:.1f} s"
        self.done.append((title, step.outcome, took))
        self.console.print(f"  [green]✓[/] {step.outcome} [dim]({took})[/]")

    def summary(self) -> None:
        """The table of what was done."""
        table = Table(title="What was done", title_justify="left", show_lines=False)
        for name in ("step", "outcome", "took"):
            table.add_column(name, overflow="fold", justify="right" if name == "took" else "left")
        for row in self.done:
            table.add_row(*row)
        self.console.print(table)

    def proof(self, checks: list[Check], *, is_complete: bool) -> None:
        """The table of what was compared with the client's own log, and below it what differed, ids unbroken."""
        table = Table(title="What was proved, against the client's own log", title_justify="left")
        for name in ("promise", "compared", "holds"):
            table.add_column(name, overflow="fold")
        for check in checks:
            table.add_row(check.what, f"{check.count:,}", _verdict(check, is_complete=is_complete))
        self.console.print(table)
        for check in checks:
            for line in (*check.wrong[:_SHOWN], *check.notes[:_SHOWN]):
                self.console.print(f"  {line}", soft_wrap=True, markup=False)
            if len(check.wrong) > _SHOWN:
                self.console.print(f"  … and {len(check.wrong) - _SHOWN} more differences like these")

    def runs(self, rows: list[tuple[str, str, str, str]]) -> None:
        """The table of workflow runs; links are printed whole, so that a terminal can open them."""
        table = Table(title="Every workflow run", title_justify="left")
        for name in ("workflow", "what", "state"):
            table.add_column(name, overflow="fold")
        for kind, summary, state, _ in rows:
            table.add_row(kind, summary, state)
        self.console.print(table)
        for kind, _, _, link in rows:
            self.console.print(f"  {kind:<18} {link}", soft_wrap=True)


@dataclass
class Step:
    """A step under way; `outcome` is its sentence in the table."""

    console: Console
    outcome: str = "done"

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Any]:
        """A progress bar; calling what it yields with a number advances it."""
        columns = (TextColumn(f"  {what}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        ) as progress:
            task = progress.add_task(what, total=total)
            yield lambda count: progress.advance(task, count)


async def runs(temporal: dict[str, str], since: str) -> AsyncIterator[tuple[str, str, str, str]]:
    """Every run that started since `since` (RFC 3339): workflow, summary, state and link into the Temporal UI."""
    client = await Client.connect(temporal["address"], namespace=temporal["namespace"])
    async for found in client.list_workflows(f"StartTime >= '{since}'", limit=200):
        described = await client.get_workflow_handle(found.id, run_id=found.run_id).describe()
        link = (
            f"{temporal['ui']}/namespaces/{temporal['namespace']}/workflows/"
            f"{quote(found.id, safe='')}/{found.run_id}/history"
        )
        state = found.status.name.lower() if found.status is not None else "unknown"
        yield found.workflow_type, await described.static_summary() or "", state, link


def _verdict(check: Check, *, is_complete: bool) -> str:
    if check.holds:
        return "[green]yes[/]"
    if check.is_empty:
        return "[red]NO[/], there is nothing" if is_complete else "[dim]nothing to compare yet[/]"
    return "[red]NO[/], see below"


def _width() -> int | None:
    return None if sys.stdout.isatty() else 120
