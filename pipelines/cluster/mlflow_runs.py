"""The MLflow runs of a run of Kubeflow, ended with it: a killed process ends none itself."""

from collections.abc import Callable
from typing import Literal

from spine.errors import SpinelineError
from spine.settings import settings

Ending = Literal["KILLED", "FAILED"]


def end_mlflow_runs(run_id: str, status: Ending, *, report: Callable[[str], None]) -> None:
    """End the MLflow runs of ``run_id`` that are RUNNING; report how many, or in one line why that is not possible.

    Nothing is done where no tracking server is set: the runs of a cluster are not in a database of this machine.
    """
    if settings().mlflow_uri.startswith("sqlite:"):
        return
    from model_registry.run_endings import end_runs
    from model_registry.tracking import open_store

    try:
        ended = end_runs(open_store(settings().root_path, settings()), kubeflow_run=run_id, status=status)
    except SpinelineError as error:
        report(f"the MLflow runs of run {run_id} are not ended: {error}")
        return
    if ended:
        report(f"{len(ended)} MLflow run{'s' * (len(ended) > 1)} of run {run_id} ended as {status}")
