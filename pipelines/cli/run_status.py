"""How far a run on a cluster is, step by step, with what keeps a step waiting or made it fail."""

from typing import TYPE_CHECKING, Any

from pipelines.cli.cluster_options import Choice
from pipelines.cli.output import print_json, print_line, print_table, warn
from spine.log_lines import identify

if TYPE_CHECKING:
    from pipelines.cluster.endpoint import Endpoint
    from pipelines.cluster.steps import StepState

_WELL = ("SUCCEEDED", "SKIPPED")


def show_run(run: str, choice: Choice) -> int:
    """Print how far a run is; return exit code 1 where it FAILED or was CANCELED."""
    from pipelines.cluster import runs
    from pipelines.cluster.connection import connected
    from pipelines.cluster.steps import steps_of

    endpoint = choice.resolved().kubeflow
    with connected(endpoint) as connection:
        found = runs.find_run(connection, run)
        identify(run=found.run_id)
        graph = runs.graph_of_run(connection, found)
        link = connection.link(found.run_id)
    steps = steps_of(found, graph)
    if found.state not in _WELL:
        steps = _with_pods(steps, endpoint, found.run_id)
    rows = [(one.step, graph.folds(one.step, one.number) or None, one.state, one.message or None) for one in steps]
    _show(found, link, rows, as_json=choice.as_json)
    return 1 if found.state in ("FAILED", "CANCELED") else 0


def _with_pods(steps: "list[StepState]", endpoint: "Endpoint", run_id: str) -> "list[StepState]":
    """Return steps with what their pods say; where pods can't be looked at, that is told."""
    from pipelines.cluster.explaining import explained
    from pipelines.cluster.kubernetes_access import UnaskedError, reach
    from pipelines.cluster.pods import pods_of

    try:
        cluster = reach(endpoint)
        return explained(steps, pods_of(cluster, run_id), cluster)
    except UnaskedError as error:
        warn(f"pods are not looked at: {error}")
        return steps


def _show(run: Any, link: str, rows: list[tuple[str, str | None, str, str | None]], *, as_json: bool) -> None:
    if as_json:
        names = ("step", "folds", "state", "message")
        steps = [dict(zip(names, row, strict=True)) for row in rows]
        print_json({"run": run.run_id, "name": run.display_name, "state": run.state, "link": link, "steps": steps})
        return
    print_table(f"{run.display_name}: {run.state}", ["step", "folds", "state", "message"], rows)
    print_line(link)
