"""The command that holds models side by side."""

import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from pipelines.cli.output import print_json, print_line, print_table
from spine.errors import InvalidValueError, MissingPathError
from spine.settings import settings

_PAGES: Final = (".html", ".htm")


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
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
        _require_place(html, models)
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
        print_line(line)
    if html:
        print_line(f"page: {html}")


def _require_place(html: Path, models: list[str]) -> None:
    """Refuse a place before any work is done: one that is no page, one of the inputs, or that can't be written to."""
    folder = html.absolute().parent
    if html.is_dir():
        raise InvalidValueError("--html", str(html), expected="a file, not a folder")
    if html.suffix.lower() not in _PAGES:
        raise InvalidValueError("--html", str(html), expected=f"a name that ends in {' or '.join(_PAGES)}")
    if html.exists() and any(Path(given).exists() and html.samefile(given) for given in models):
        raise InvalidValueError("--html", str(html), expected="another file than those that are compared")
    if not folder.is_dir():
        raise MissingPathError(folder, expected="a folder for the page")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidValueError("--html", str(html), expected=f"a folder to write to ({folder}: {reason})") from error
