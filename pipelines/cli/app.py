"""The entry point: all commands, and how an error becomes one line and an exit code."""

import logging
import sys
from importlib import metadata
from typing import Annotated

import typer
from pydantic import ValidationError

from pipelines.cli import (
    cluster_runs,
    comparing,
    data,
    evidence,
    noise,
    runs,
    schedules,
    scores,
    serving,
    status,
    tokens,
    versions,
)
from pipelines.cli.output import print_line
from spine.errors import SpinelineError, StepFailedError
from spine.logs import INTERRUPTED, format_os_error, say, setup
from spine.settings import opt_out_of_telemetry

_PANELS = {
    "Data": ("prepare", "phantom", "label-issues", "exclude"),
    "Training": ("demo", "run", "compile"),
    "Evaluation": ("evaluate", "gate", "compare", "noise"),
    "Registry": (
        "versions", "approve", "promote", "rollback", "revoke", "history", "status", "lineage", "evidence", "ui",
    ),
    "Serving": ("serve", "predict", "token"),
    "Cluster": ("follow", "stop", "retry", "schedules"),
}  # fmt: skip


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print_line(f"spineline {metadata.version('spineline')}")
        raise typer.Exit


app = typer.Typer(
    name="spineline",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, gate, register, serve and roll back nnU-Net models for vertebra segmentation in CT. "
    "For research and decision support, [bold]not for clinical use[/bold].\n\n"
    "State lives below [cyan].spineline/[/cyan] (SPINELINE_ROOT). "
    "Exit codes: 0 done, 1 a verdict against, 2 bad input, 130 interrupted.",
)
for module in (
    data,
    runs,
    scores,
    comparing,
    noise,
    versions,
    status,
    evidence,
    serving,
    tokens,
    cluster_runs,
    schedules,
):
    module.add_to(app)
for command in app.registered_commands:
    name = command.name or str(getattr(command.callback, "__name__", "")).replace("_", "-")
    command.rich_help_panel = next((panel for panel, names in _PANELS.items() if name in names), None)


@app.callback()
def _spineline(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    setup(logging.WARNING)
    opt_out_of_telemetry()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; an expected error is one line on stderr."""
    command = typer.main.get_command(app)
    try:
        result = command.main(arguments, prog_name="spineline", standalone_mode=False)
    except SpinelineError as error:
        return _tell(error)
    except typer.TyperException as error:
        # Typer brings its own copy of click: click's exception classes are not the ones it raises.
        # Without a command the help was printed already, and there is no message.
        if error.format_message():
            _refuse(_usage(error))
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except typer.Abort as abort:
        # Typer makes an end of file, wherever it was met, look like an interrupt.
        if isinstance(abort.__context__, EOFError):
            raise abort.__context__ from None
        return _interrupted()
    except FileExistsError as error:
        _refuse(f"{error.filename}: is a file; expected a folder")
        return 2
    except OSError as error:
        message = format_os_error(error)
        if message is None:
            raise
        _refuse(message)
        return 2
    # Typer turns an interrupt within a command into this result.
    if result == INTERRUPTED:
        return _interrupted()
    return result if isinstance(result, int) else 0


def _interrupted() -> int:
    say("interrupted; run the same command again to continue", level=logging.WARNING)
    return INTERRUPTED


def _usage(error: typer.TyperException) -> str:
    """Say what was wrong with the arguments: which one, the value found and what was expected."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "spineline"
    message = error.format_message().rstrip(".")
    if isinstance(error.__cause__, ValidationError):
        message = f"{message} (found {error.__cause__.errors()[0]['input']!r})"
    return f"{message}; expected what `{command} --help` shows"


def _tell(error: SpinelineError) -> int:
    if isinstance(error, StepFailedError) and error.log_tail:
        say(error.log_tail, level=logging.ERROR)
    _refuse(str(error))
    return error.exit_code


def _refuse(reason: str) -> None:
    say(f"error: {reason}", level=logging.ERROR)


if __name__ == "__main__":
    main()
