"""How commands report: tables for people, strict JSON for programs, progress while work goes on."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pipelines.cli.progress_lines import ProgressLines
from spine.log_lines import about
from spine.logs import is_json, say
from spine.progress import ProgressEvent
from spine.storage import strict_json

_FILE_WIDTH = 160
"""Columns where the output is no terminal: a log should not lose the ends of its cells."""


class _Errors(Console):
    """Prints to stderr; where logs are JSON, what is printed is a record of the log."""

    def print(self, *objects: Any, **how: Any) -> None:
        if is_json():
            say(" ".join(str(each) for each in objects))
        else:
            super().print(*objects, **how)


console = Console(emoji=False, width=None if sys.stdout.isatty() else _FILE_WIDTH)
errors = _Errors(stderr=True, emoji=False, width=None if sys.stderr.isatty() else _FILE_WIDTH)


def print_line(line: str) -> None:
    """Print a line on stdout as it is: nothing in it is markup, and nothing is folded."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def tell(line: str, *, style: str | None = None) -> None:
    """Tell a line on stderr as it is: what the user should know beside the result."""
    errors.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """Tell a line that asks for attention."""
    tell(line, style="yellow")


def print_json(value: object) -> None:
    """Print strict JSON, and nothing else, on stdout."""
    sys.stdout.write(strict_json(value, indent=2) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; numbers are given with the digits that mean something."""
    # As text: a name in brackets is no markup.
    table = Table(title=Text(title, style="bold"), title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    console.print(table)


def shown(value: object) -> str:
    """Return a cell as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class ProgressView(Protocol):
    """Shows progress events: bars on a terminal, a line now and then elsewhere."""

    def show(self, event: ProgressEvent) -> None:
        """Show one event."""

    def begin_part(self) -> None:
        """Show what comes next apart from what was, where a step runs a second time."""


class _Bars:
    """Progress on a terminal: a bar a task."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[tuple[str, str], TaskID] = {}

    def show(self, event: ProgressEvent) -> None:
        key = (event.step, event.task)
        if key not in self._bars:
            self._bars[key] = self._progress.add_task(f"{event.step}: {event.task}", total=event.total, note="")
        self._progress.update(self._bars[key], completed=event.done, total=event.total, note=event.note)

    def begin_part(self) -> None:
        self._bars.clear()


@contextmanager
def progress_view() -> Iterator[ProgressView]:
    """Yield a view of progress on stderr."""
    if is_json() or not errors.is_terminal:
        lines = ProgressLines(_tell)
        with lines.kept_up():
            yield lines
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:g}/{task.total:g}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=errors) as progress:
        yield _Bars(progress)


def _tell(event: ProgressEvent) -> None:
    note = f"  {event.note}" if event.note else ""
    with about(fold=event.fold):
        line = f"{event.step}: {event.task} {event.done:g}/{event.total:g}{note}"
        tell(line)
