"""Runs whose workflow was deleted: the commands that help, and the archive for what can't be stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines.cli.cluster_options import Choice
from pipelines.cli.output import print_json, print_line, warn
from spine.errors import SpinelineError

if TYPE_CHECKING:
    from pipelines.cluster.connection import Connection
    from pipelines.cluster.endpoint import Endpoint
    from pipelines.cluster.kubernetes_access import Cluster


@contextmanager
def advising(choice: Choice) -> Iterator[None]:
    """Add the commands that help to a RestartNeededError raised in the block."""
    from pipelines.cluster.lost_runs import RestartNeededError

    try:
        yield
    except RestartNeededError as error:
        raise error.with_remedy(remedy(error.run, choice)) from error


def remedy(run: Any, choice: Choice) -> str:
    """Return what to do about a run that can't continue, in a sentence."""
    from pipelines.cluster.steps import ENDED

    start = _start(run, choice)
    if run.state in ENDED:
        return start
    return f"{start}; remove it from Kubeflow's list with `{choice.command('stop', run.run_id)} --archive`"


def raise_where_lost(run: Any, endpoint: "Endpoint") -> None:
    """Raise RunLostError for a run that is lost, as far as the Kubernetes API can be read."""
    from pipelines.cluster.lost_runs import UNFINISHED, lost_error

    if run.state in UNFINISHED and (error := lost_error(readable_cluster(endpoint), run)):
        raise error


def readable_cluster(endpoint: "Endpoint") -> "Cluster | None":
    """Return the Kubernetes API; None where it can't be used: a lost run is recognised only when it is stopped then."""
    from pipelines.cluster.kubernetes_access import UnaskedError, reach

    try:
        return reach(endpoint)
    except UnaskedError:
        return None


def stop_or_archive(
    connection: "Connection", run: Any, endpoint: "Endpoint", choice: Choice, *, is_archiving: bool
) -> bool:
    """Stop a run and return True; with ``is_archiving`` archive one that is lost, and return False.

    Raises RunLostError for a lost run without ``is_archiving``.
    """
    from pipelines.cluster import lost_runs, runs

    try:
        with advising(choice):
            if run.state == runs.CANCELING and is_archiving:
                _raise_where_possibly_lost(run, endpoint)
            elif run.state == runs.CANCELING:
                raise_where_lost(run, endpoint)
            # A run that is not known to be lost is for Kubeflow to stop: it reports a missing workflow.
            runs.stop(connection, run)
            return True
    except lost_runs.RunLostError:
        if not is_archiving:
            raise
    lost_runs.archive(connection, run)
    if choice.as_json:
        print_json({"run": run.run_id, "archived": True})
    else:
        print_line(f"run {run.run_id} is in Kubeflow's archive. {_start(run, choice)}")
    return False


def _raise_where_possibly_lost(run: Any, endpoint: "Endpoint") -> None:
    """Raise RunLostError for a run that is lost, and for one of which the Kubernetes API doesn't show it."""
    from pipelines.cluster.kubernetes_access import UnaskedError, reach
    from pipelines.cluster.lost_runs import RunLostError, raise_if_lost

    try:
        raise_if_lost(reach(endpoint), run)
    except UnaskedError as error:
        warn(f"run {run.run_id} is CANCELING; whether its workflow exists can't be read: {error}")
        raise RunLostError(run, f"run {run.run_id} may be lost: {error}") from error


def _start(run: Any, choice: Choice) -> str:
    again = _restart_command(run, choice)
    return f"Start it again with `{again}`: finished steps are found again" if again else "Start it again"


def _restart_command(run: Any, choice: Choice) -> str | None:
    """Return the command that trains the same again; None where the run's arguments don't contain it."""
    from pipelines.cluster.restarting import restart_options

    try:
        options = restart_options(run)
    except SpinelineError:
        return None
    return choice.run_command(*options) if options else None
