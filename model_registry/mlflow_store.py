"""The only room that imports MLflow: runs, metrics, model versions, and aliases that mirror the ledger."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from model_registry.errors import TrackingError
from model_registry.state import State

EXPERIMENT = "spineline"
_DIGEST_TAG = "spineline.bundle"
_OPENS_ON_RUNS = {"mlflow.experimentKind": "custom_model_development"}
_ALIASES = ("candidate", "champion", "previous")
_METRICS_A_BATCH = 500


@dataclass(frozen=True)
class FoldCurves:
    """What training logged for one fold: a list of values, an epoch each, by name of the quantity; None for NaN."""

    fold: int
    curves: Mapping[str, Sequence[float | None]]


class MlflowStore:
    """MLflow at one URI: SQLite or PostgreSQL directly, or a tracking server."""

    def __init__(self, uri: str, *, artifacts: Path, model_name: str) -> None:
        self._uri, self._artifacts, self._name = uri, artifacts, model_name
        with self._reported():
            if uri.startswith("sqlite:///"):
                Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def record_candidate(
        self,
        *,
        name: str,
        parameters: Mapping[str, str],
        metrics: Mapping[str, float],
        folds: Sequence[FoldCurves],
        files: Sequence[Path],
    ) -> str:
        """Write one run for a candidate with a child run a fold; return the run's id."""
        with self._reported():
            experiment = self._experiment()
            run_id = self._write_run(experiment, name, parameters, [Metric(k, v, 0, 0) for k, v in metrics.items()])
            for file in files:
                self._client.log_artifact(run_id, str(file))
            for fold in folds:
                points = [
                    Metric(quantity, value, 0, epoch)
                    for quantity, values in fold.curves.items()
                    for epoch, value in enumerate(values, start=1)
                    if value is not None
                ]
                self._write_run(experiment, f"fold {fold.fold}", {"fold": str(fold.fold)}, points, parent=run_id)
        return run_id

    def create_version(self, *, run_id: str, bundle: Path, digest: str, tags: Mapping[str, str]) -> int:
        """Create the next version of the registered model; the version of a digest is created only once."""
        with self._reported():
            known = self.version_of(digest)
            if known is not None:
                return known
            if not self._client.search_registered_models(filter_string=f"name = '{self._name}'"):
                self._client.create_registered_model(
                    self._name, description="Vertebra segmentation in CT. Not for clinical use."
                )
            created = self._client.create_model_version(
                self._name, source=bundle.absolute().as_uri(), run_id=run_id, tags={**tags, _DIGEST_TAG: digest}
            )
            return int(created.version)

    def version_of(self, digest: str) -> int | None:
        """Return the version whose bundle has ``digest``, if there is one."""
        with self._reported():
            for version in self._client.search_model_versions(f"name = '{self._name}'"):
                if version.tags.get(_DIGEST_TAG) == digest:
                    return int(version.version)
        return None

    def aliases(self) -> dict[str, int]:
        """Return the aliases as MLflow has them."""
        with self._reported():
            found = self._client.search_registered_models(filter_string=f"name = '{self._name}'")
            return {alias: int(version) for model in found for alias, version in model.aliases.items()}

    def mirror(self, state: State) -> None:
        """Make MLflow's aliases say what the ledger says."""
        wanted = aliases_of(state)
        found = self.aliases()
        with self._reported():
            for alias in _ALIASES:
                if alias in wanted and found.get(alias) != wanted[alias]:
                    self._client.set_registered_model_alias(self._name, alias, str(wanted[alias]))
                elif alias not in wanted and alias in found:
                    self._client.delete_registered_model_alias(self._name, alias)

    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(EXPERIMENT)
        if known:
            return str(known.experiment_id)
        location = None if self._uri.startswith("http") else self._artifacts.absolute().as_uri()
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=location, tags=_OPENS_ON_RUNS))

    def _write_run(
        self,
        experiment: str,
        name: str,
        parameters: Mapping[str, str],
        metrics: Sequence[Metric],
        parent: str | None = None,
    ) -> str:
        tags = {"mlflow.parentRunId": parent} if parent else {}
        run = self._client.create_run(experiment, run_name=name, tags=tags)
        run_id = str(run.info.run_id)
        self._client.log_batch(
            run_id,
            params=[Param(key, value) for key, value in parameters.items()],
            tags=[RunTag("spineline", "candidate" if parent is None else "fold")],
        )
        for start in range(0, len(metrics), _METRICS_A_BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + _METRICS_A_BATCH])
        self._client.set_terminated(run_id)
        return run_id

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise TrackingError(self._uri, reason=(str(error).splitlines() or ["no answer"])[0]) from error


def aliases_of(state: State) -> dict[str, int]:
    """Return the aliases that a state of the ledger means."""
    candidates = [number for number, known in state.versions.items() if known.life in ("registered", "approved")]
    aliases = {"candidate": max(candidates, default=None), "champion": state.serving, "previous": state.before}
    return {alias: version for alias, version in aliases.items() if version is not None}
