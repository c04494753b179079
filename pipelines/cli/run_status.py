"""State of a run on a cluster, step by step and fold by fold, with the reason why a step waits or failed."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.cluster_options import PROFILE, Choice, HostOption, JsonOption, ProfileOption, RunArgument
from pipelines.cli.lost_runs import remedy
from pipelines.cli.output import print_json, print_line, print_table, warn
from pipelines.cli.run_following import cluster_of
from spine.log_lines import identify

if TYPE_CHECKING:
    from pipelines.cluster.connection import Connection
    from pipelines.cluster.graph import Graph
    from pipelines.cluster.kubernetes_access import Cluster
    from pipelines.cluster.lost_runs import RunLostError
    from pipelines.cluster.steps import StepState

_WELL = ("SUCCEEDED", "SKIPPED")


def list_runs(
    limit: Annotated[int, typer.Option(help="Show at most this many runs, the newest first.", min=1)] = 20,
    profile: ProfileOption = PROFILE,
    host: HostOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest runs on a cluster.

    [bold]Example[/bold]: spineline runs list --profile my-cluster.yaml
    """
    from pipelines.cluster.connection import connected
    from pipelines.cluster.runs import recent_runs

    choice = Choice(profile=profile, host=host, as_json=as_json)
    with connected(choice.resolved().kubeflow) as connection:
        found = list(recent_runs(connection, most=limit))
    if as_json:
        rows = [(run.run_id, run.display_name, run.state, _time_of(run)) for run in found]
        print_json([dict(zip(("run", "name", "state", "created_at"), row, strict=True)) for row in rows])
        return
    columns = ["run", "name", "state", "created (UTC)"]
    print_table("runs", columns, [(run.run_id[:8], run.display_name, run.state, _time_of(run)) for run in found])


def _time_of(run: Any) -> str:
    return str(run.created_at)[:16] if run.created_at else ""


def run_status(
    run: RunArgument, profile: ProfileOption = PROFILE, host: HostOption = None, as_json: JsonOption = False
) -> int:
    """Show the state of a run step by step, with the reason for which a step waits or failed.

    Exit code 1 means that the run FAILED or was CANCELED.

    [bold]Example[/bold]: spineline runs status 3f2a91c0 --profile my-cluster.yaml
    """
    return show_run(run, Choice(profile=profile, host=host, as_json=as_json))


def show_run(run: str, choice: Choice) -> int:
    """Print the state of a run; return exit code 1 where it is lost, FAILED or was stopped."""
    from pipelines.cluster import runs
    from pipelines.cluster.connection import connected
    from pipelines.cluster.lost_runs import lost_error
    from pipelines.cluster.run_records import stopped_by
    from pipelines.cluster.steps import steps_of, was_stopped

    endpoint = choice.resolved().kubeflow
    with connected(endpoint) as connection:
        found = runs.find_run(connection, run)
        identify(run=found.run_id)
        graph = runs.graph_of_run(connection, found)
        link = connection.link(found.run_id)
        cluster = cluster_of(endpoint) if found.state not in _WELL else None
        steps = _explained(connection, found, steps_of(found, graph), graph, cluster)
        stopped = stopped_by(found, cluster) if was_stopped(found) else None
        lost = lost_error(cluster, found)
    rows = [(one.step, graph.folds(one.step, one.number) or None, one.state, one.message or None) for one in steps]
    _show(found, stopped, lost, link, rows, as_json=choice.as_json)
    if lost:
        warn(str(lost.with_remedy(remedy(found, choice))))
    return 1 if lost or found.state in ("FAILED", "CANCELED") else 0


def _explained(
    connection: "Connection", run: Any, steps: "list[StepState]", graph: "Graph", cluster: "Cluster | None"
) -> "list[StepState]":
    """Return steps with reasons from pods and logs; where pods can't be read, a line says so."""
    from pipelines.cluster.diagnostics import explain_steps
    from pipelines.cluster.kubernetes_access import UnaskedError

    if run.state in _WELL:
        return steps
    try:
        return explain_steps(connection, run, steps, graph, cluster)
    except UnaskedError as error:
        warn(f"pods are not read: {error}")
        return explain_steps(connection, run, steps, graph, None)


def _show(
    run: Any,
    stopped: str | None,
    lost: "RunLostError | None",
    link: str,
    rows: list[tuple[str, str | None, str, str | None]],
    *,
    as_json: bool,
) -> None:
    if as_json:
        names = ("step", "folds", "state", "message")
        steps = [dict(zip(names, row, strict=True)) for row in rows]
        about = {"run": run.run_id, "name": run.display_name, "state": run.state, "stopped": stopped, "link": link}
        print_json({**about, "lost": lost is not None, "steps": steps})
        return
    state = f"lost ({run.state})" if lost else run.state
    print_table(f"{run.display_name}: {state}", ["step", "folds", "state", "message"], rows)
    if stopped:
        print_line(stopped)
    print_line(link)
