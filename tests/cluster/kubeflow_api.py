"""What no command of Spineline does: start the small pipelines, stop many runs at once, and delete runs."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def start_pipeline(profile: Path, pipeline: str, arguments: Mapping[str, Any]) -> str:
    """Upload and start ``promote-approved`` or ``roll-back``; return the run's id."""
    from pipelines.cluster.connection import connected
    from pipelines.cluster.launching import compiled
    from pipelines.profile import load_profile

    chosen = load_profile(str(profile))
    given = {"root": chosen.shared_root, **arguments}
    compiling = compiled(pipeline, profile=chosen, folds=[0], arguments=given, title=f"cluster-suite {pipeline}")
    with connected(chosen.kubeflow) as connection, compiling as launch:
        run = launch.start(connection, print, command=lambda name, run_id: f"spineline {name} {run_id}")
        return str(run.run_id)


def stop_runs(profile: Path, run_ids: Sequence[str]) -> None:
    """Stop those of the runs that have not ended, all through one connection."""
    from pipelines.cluster.errors import ClusterError
    from pipelines.cluster.runs import get_run, stop

    with _connected(profile) as connection:
        for run_id in run_ids:
            with contextlib.suppress(ClusterError):
                stop(connection, get_run(connection, run_id))


def delete_runs(profile: Path, run_ids: Sequence[str]) -> None:
    """Delete runs from Kubeflow's list; one that can't be deleted is left."""
    from pipelines.cluster.errors import ClusterError

    with _connected(profile) as connection:
        for run_id in run_ids:
            with contextlib.suppress(ClusterError):
                connection.ask(connection.api.runs.run_service_delete_run, run_id=run_id)


@contextlib.contextmanager
def _connected(profile: Path) -> Iterator[Any]:
    from pipelines.cluster.connection import connected
    from pipelines.profile import load_profile

    with connected(load_profile(str(profile)).kubeflow) as connection:
        yield connection


def runs_of_schedule(workflows: Sequence[Mapping[str, Any]], schedule: str) -> Iterator[str]:
    """Yield the ids of the runs whose workflow a schedule owns; a schedule's id is the uid of its ScheduledWorkflow."""
    for workflow in workflows:
        metadata = workflow["metadata"]
        if any(owner.get("uid") == schedule for owner in metadata.get("ownerReferences", [])):
            yield metadata["labels"]["pipeline/runid"]
