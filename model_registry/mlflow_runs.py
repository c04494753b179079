"""MLflow runs: one per candidate, with a child run per fold, their entries and their status."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException

from model_registry.mlflow_connection import MlflowConnection, first_line
from model_registry.mlflow_names import KUBEFLOW_RUN_TAG, allowed, cut
from spine.errors import InvalidValueError
from spine.journal import Entry, Status

EXPERIMENT = "spineline"
CANDIDATE_TAG, FOLD_TAG = "spineline.candidate", "spineline.fold"
_PARENT_TAG = "mlflow.parentRunId"
_OPENS_ON_RUNS = {"mlflow.experimentKind": "custom_model_development"}
_NOTE = "Pseudo-Dice is nnU-Net's own, on random patches: it shows how training goes and is never evidence."

_MOST_RUNNING = 1000
_REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunningRun:
    """A run that MLflow shows as RUNNING: a candidate's, or that of one of its folds."""

    run_id: str
    candidate: str | None
    """Name of the candidate's folder; None for a fold."""
    parent: str | None
    """The candidate's run; None for a candidate."""
    fold: int | None


class MlflowRuns(MlflowConnection):
    """The runs of candidates and folds in one experiment."""

    def candidate_run(self, key: str, *, name: str) -> str:
        """Find the run of a candidate, or create it; two callers at one moment must be kept apart by a lock."""
        with self._reported():
            return self._find_run({CANDIDATE_TAG: key}) or self._create_run(name, {CANDIDATE_TAG: key})

    def fold_run(self, parent: str, *, fold: int) -> str:
        """Find the run of a fold below its candidate's, or create it; under the same lock."""
        tags = {_PARENT_TAG: parent, FOLD_TAG: str(fold)}
        with self._reported():
            return self._find_run(tags) or self._create_run(f"fold {fold}", tags)

    def fold_runs(self, parent: str) -> dict[int, str]:
        """Return the runs of a candidate's folds by fold, of those that there are."""
        with self._reported():
            runs = self._client.search_runs(
                [self._experiment()], filter_string=f"tags.`{_PARENT_TAG}` = '{parent}'", max_results=100
            )
        return {int(run.data.tags[FOLD_TAG]): str(run.info.run_id) for run in runs if FOLD_TAG in run.data.tags}

    def running(self, *, kubeflow_run: str | None = None) -> list[RunningRun]:
        """Return the runs of candidates and folds that are RUNNING, all of them or those that one run trained last."""
        condition = "attributes.status = 'RUNNING'"
        if kubeflow_run is not None:
            if not kubeflow_run or "'" in kubeflow_run:
                raise InvalidValueError("Kubeflow run", kubeflow_run, expected="the id of a run")
            condition += f" and tags.`{KUBEFLOW_RUN_TAG}` = '{kubeflow_run}'"
        with self._reported():
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                return []
            found: Sequence[Run] = self._client.search_runs(
                [experiment.experiment_id], filter_string=condition, max_results=_MOST_RUNNING
            )
        return [_running(run.info.run_id, run.data.tags) for run in found]

    def candidate_of(self, run_id: str) -> str | None:
        """Return the name of the candidate's folder that a run belongs to."""
        with self._reported():
            tags: Mapping[str, str] = self._client.get_run(run_id).data.tags
        return tags.get(CANDIDATE_TAG)

    def is_active(self, run_id: str) -> bool:
        """Tell whether a run is there and was not deleted."""
        with self._reported():
            return self._is_active(run_id)

    def send(self, run_id: str, entries: Sequence[Entry]) -> None:
        """Write entries to a run; what was written before is not doubled, and a bad value holds nothing else up.

        A value that MLflow refuses for good is told in the log and left out. A parameter keeps its first value, as
        MLflow demands; another is shown as the tag ``changed.<name>``. Raises TrackingError where MLflow can't be
        reached or the run is gone: then everything may be sent again.
        """
        points = [
            Metric(allowed(name), value, round(entry.time_s * 1000), entry.step)
            for entry in entries
            for name, value in entry.metrics.items()
        ]
        tags = [RunTag(allowed(name), cut(value)) for entry in entries for name, value in entry.tags.items()]
        with self._reported():
            self._log(run_id, points)
            self._log(run_id, tags)
        self._send_parameters(run_id, [item for entry in entries for item in entry.parameters.items()])
        statuses = [(entry.status, entry.time_s) for entry in entries if entry.status]
        if statuses:
            status, time_s = statuses[-1]
            self.set_status(run_id, status, time_s=time_s)

    def show(
        self, run_id: str, *, parameters: Mapping[str, str], metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """Let a run show these values; a metric that it shows already gets no second point."""
        with self._reported():
            shown = self._client.get_run(run_id).data.metrics
        new = {name: value for name, value in metrics.items() if shown.get(allowed(name)) != value}
        self.send(run_id, [Entry.now(parameters=dict(parameters), metrics=new, tags=dict(tags))])

    def set_status(self, run_id: str, status: Status, *, time_s: float) -> None:
        """Let a run go on, or end it at a Unix time."""
        ended_ms = None if status == "RUNNING" else round(time_s * 1000)
        with self._reported():
            # The client's own set_terminated prints on stdout, whose last line is a step's result.
            self._client._tracking_client.store.update_run_info(run_id, RunStatus.from_string(status), ended_ms, None)

    def add_files(self, run_id: str, files: Sequence[Path]) -> None:
        """Put files beside a run; one of the same name is replaced."""
        with self._reported():
            for file in files:
                self._client.log_artifact(run_id, str(file))

    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(EXPERIMENT)
        if known:
            return str(known.experiment_id)
        location = None if self._uri.startswith("http") else self._artifacts.absolute().as_uri()
        try:
            return str(self._client.create_experiment(EXPERIMENT, artifact_location=location, tags=_OPENS_ON_RUNS))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return str(self._client.get_experiment_by_name(EXPERIMENT).experiment_id)

    def _find_run(self, tags: Mapping[str, str]) -> str | None:
        condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        runs: Sequence[Run] = self._client.search_runs(
            [self._experiment()], filter_string=condition, max_results=1, order_by=["attributes.start_time ASC"]
        )
        return str(runs[0].info.run_id) if runs else None

    def _create_run(self, name: str, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(self._experiment(), run_name=name, tags={**tags, "mlflow.note.content": _NOTE})
        return str(run.info.run_id)

    def _is_active(self, run_id: str) -> bool:
        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _send_parameters(self, run_id: str, parameters: Sequence[tuple[str, str]]) -> None:
        if not parameters:
            return
        with self._reported():
            data = self._client.get_run(run_id).data
            first, changed = dict(data.params), {}
            for name, value in ((allowed(name), cut(value)) for name, value in parameters):
                tag = allowed(f"changed.{name}")
                if first.setdefault(name, value) != value or tag in data.tags or tag in changed:
                    changed[tag] = value
            self._log(run_id, [Param(name, value) for name, value in first.items() if name not in data.params])
            self._log(run_id, [RunTag(name, value) for name, value in changed.items()])

    def _log(self, run_id: str, items: Sequence[Metric | Param | RunTag]) -> None:
        """Log items, in MLflow's batches; of a refused lot, halves are tried until the refused item is alone."""
        kinds = {kind: [item for item in items if isinstance(item, kind)] for kind in (Metric, Param, RunTag)}
        try:
            self._client.log_batch(run_id, metrics=kinds[Metric], params=kinds[Param], tags=kinds[RunTag])
        except MlflowException as error:
            if error.error_code not in _REFUSED or not self._is_active(run_id):
                raise
            if len(items) == 1:
                _LOG.warning("MLflow refuses %s of run %s: %s", items[0].key, run_id, first_line(error))
                return
            self._log(run_id, items[: len(items) // 2])
            self._log(run_id, items[len(items) // 2 :])


def _running(run_id: str, tags: Mapping[str, str]) -> RunningRun:
    fold = tags.get(FOLD_TAG, "")
    return RunningRun(
        run_id=run_id,
        candidate=tags.get(CANDIDATE_TAG),
        parent=tags.get(_PARENT_TAG),
        fold=int(fold) if fold.isdigit() else None,
    )
