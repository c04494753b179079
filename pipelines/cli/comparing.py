"""The command that holds models side by side."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import console, print_json, print_table
from spine.errors import InvalidValueError, MissingPathError
from spine.settings import settings


def add_to(app: typer.Typer) -> None:
    """Add the command of this room."""
    app.command()(compare)


def compare(
    models: Annotated[
        list[str],
        typer.Argument(help="Versions or files, two or more; the first is what others are held to.", metavar="MODELS"),
    ],
    html: Annotated[Path | None, typer.Option(help="Also write the page with tables and charts to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print strict JSON instead of tables.")] = False,
) -> None:
    """Compare models: all scores, and paired differences where they saw the same scans.

    [bold]MODELS[/bold] are numbers of registered versions (their scores on the locked test set), or files: what
    [cyan]spineline evaluate[/cyan] wrote, or the summary.json of nnU-Net.

    [bold]Example[/bold]: spineline compare 3 new.json --html comparison.html

    Exit codes: 0 done; 2 bad input.
    """
    from pipelines.comparison import DIFFERENCE_COLUMNS
    from pipelines.comparison import compare as compared

    if html:
        _require_place(html)
    found = compared(settings().root_path, models)
    if html:
        from components.gate_candidate.report import write_comparison

        write_comparison(path=html, entrants=found.entrants, contrasts=found.contrasts)
    if as_json:
        print_json(found.as_json())
        return
    print_table("scores", ["score", *(entrant.name for entrant in found.entrants)], found.rows())
    if rows := found.difference_rows():
        print_table("paired differences, over patients", DIFFERENCE_COLUMNS, rows)
    for line in found.differences_in_words():
        _say(line)
    if html:
        _say(f"page: {html}")


def _require_place(html: Path) -> None:
    if html.is_dir():
        raise InvalidValueError("--html", str(html), expected="a file, not a folder")
    if not html.absolute().parent.is_dir():
        raise MissingPathError(html.absolute().parent, expected="a folder for the page")


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
