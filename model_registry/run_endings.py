"""The end of MLflow runs whose training was stopped, failed or died: nothing else ends a run of a killed process."""

import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from model_registry.mlflow_store import MlflowStore


def end_runs(store: "MlflowStore", *, kubeflow_run: str, status: Literal["KILLED", "FAILED"]) -> list[str]:
    """End every MLflow run, of candidates and of their folds, that ``kubeflow_run`` trained last and is RUNNING.

    Returns the ids of the runs that were ended; a second call finds none. Runs that ended otherwise keep their
    status. A training that continues later returns its runs to RUNNING. Raises TrackingError where MLflow cannot
    be reached.
    """
    store.check()
    ended = [run.run_id for run in store.running(kubeflow_run=kubeflow_run)]
    for run_id in ended:
        store.set_status(run_id, status, time_s=time.time())
    return ended
