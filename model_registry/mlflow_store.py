"""The only room that imports MLflow: runs, metrics, model versions, and aliases that mirror the ledger."""

import fcntl
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from model_registry.errors import TrackingError
from model_registry.ledger import Event
from model_registry.mirroring import ANCHOR_TAG, aliases_of, is_anchored, parse_anchor
from model_registry.mlflow_names import allowed, cut, with_driver, without_password
from model_registry.state import State
from spine.errors import InvalidValueError
from spine.journal import Entry, Status
from spine.storage import atomic_file

EXPERIMENT = "spineline"
CANDIDATE_TAG, FOLD_TAG = "spineline.candidate", "spineline.fold"
_DIGEST_TAG = "spineline.bundle"
_PARENT_TAG = "mlflow.parentRunId"
_OPENS_ON_RUNS = {"mlflow.experimentKind": "custom_model_development"}
_NOTE = "Pseudo-Dice is nnU-Net's own, on random patches: it shows how training goes and is never evidence."
_ALIASES = ("candidate", "champion", "previous")

_REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST")
_ANSWER_S = 3.0
_SQLITE = "sqlite:///"
_LOG = logging.getLogger(__name__)


class MlflowStore:
    """MLflow at one URI: SQLite or PostgreSQL directly, or a tracking server."""

    def __init__(self, uri: str, *, artifacts: Path, model_name: str) -> None:
        self._uri, self._artifacts, self._name = with_driver(uri), artifacts, model_name
        with self._reported():
            if uri.startswith(_SQLITE):
                _make_database(Path(uri.removeprefix(_SQLITE)))
            elif self._uri.startswith("postgresql"):
                _connect(self._uri)
            self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def check(self) -> None:
        """Raise TrackingError within seconds where nobody answers: MLflow itself tries for minutes."""
        with self._reported():
            if self._uri.startswith("postgresql"):
                _connect(self._uri)
            if not self._uri.startswith("http"):
                return
            answer = http_request(
                get_default_host_creds(self._uri), "/health", "GET",
                max_retries=0, timeout=_ANSWER_S, raise_on_status=False,
            )  # fmt: skip
        # A proxy may know no such page, or refuse it: it answers, which is what was asked.
        if answer.status_code >= 500:
            raise TrackingError(without_password(self._uri), reason=f"answers with status {answer.status_code}")

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

    def create_version(self, *, run_id: str, source: str, digest: str, tags: Mapping[str, str]) -> int:
        """Create the next version of the registered model, whose bundle lies at the URI ``source``.

        A digest has one version. MLflow has no such rule: of two that are created at one moment, whoever made the
        later one deletes it again. Raises InvalidValueError for a folder of this machine on a tracking server, which
        MLflow does not take.
        """
        if self._uri.startswith("http") and source.startswith("file:"):
            expected = "SPINELINE_MODEL_STORE, s3://bucket/prefix: a tracking server takes no folder of this machine"
            raise InvalidValueError("place of the model", source, expected=expected)
        with self._reported():
            known = self.version_of(digest)
            if known is not None:
                return known
            self._create_model()
            created = self._client.create_model_version(
                self._name, source=source, run_id=run_id, tags={**tags, _DIGEST_TAG: digest}
            )
            first = self.version_of(digest)
            if first is None or first == int(created.version):
                return int(created.version)
            self._client.delete_model_version(self._name, created.version)
            return first

    def version_of(self, digest: str) -> int | None:
        """Return the first version whose bundle has ``digest``, if there is one."""
        with self._reported():
            found = self._client.search_model_versions(f"name = '{self._name}' and tags.`{_DIGEST_TAG}` = '{digest}'")
            return min((int(version.version) for version in found), default=None)

    def aliases(self) -> dict[str, int]:
        """Return the aliases as MLflow has them."""
        with self._reported():
            found = self._client.search_registered_models(filter_string=f"name = '{self._name}'")
            return {alias: int(version) for model in found for alias, version in model.aliases.items()}

    def mirror(self, state: State, *, events: Sequence[Event] = ()) -> None:
        """Make MLflow's aliases say what the ledger says, and anchor the newest of its ``events`` there.

        An anchor that the events don't contain stays as it is: it shows that the ledger lost what it had.
        """
        self.check()
        wanted = aliases_of(state)
        found = self.aliases()
        with self._reported():
            for alias in _ALIASES:
                if alias in wanted and found.get(alias) != wanted[alias]:
                    self._client.set_registered_model_alias(self._name, alias, str(wanted[alias]))
                elif alias not in wanted and alias in found:
                    self._client.delete_registered_model_alias(self._name, alias)
        if not events or not is_anchored(events, self.anchor()):
            return
        with self._reported():
            newest = events[-1]
            self._client.set_registered_model_tag(self._name, ANCHOR_TAG, f"{newest.number}:{newest.digest}")

    def anchor(self) -> tuple[int, str] | None:
        """Return number and digest of the newest event that MLflow was told of, if it was told of any."""
        with self._reported():
            found = self._client.search_registered_models(filter_string=f"name = '{self._name}'")
        return parse_anchor(next((model.tags.get(ANCHOR_TAG, "") for model in found), ""))

    def _create_model(self) -> None:
        try:
            self._client.create_registered_model(
                self._name, description="Vertebra segmentation in CT. Not for clinical use."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

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
                _LOG.warning("MLflow refuses %s of run %s: %s", items[0].key, run_id, _first_line(error))
                return
            self._log(run_id, items[: len(items) // 2])
            self._log(run_id, items[len(items) // 2 :])

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
            reason = without_password(_first_line(error))
            raise TrackingError(without_password(self._uri), reason=reason) from error


def _connect(uri: str) -> None:
    """Connect to a database and leave: MLflow's own attempts take minutes before it says why there is none."""
    engine = create_engine(uri, connect_args={"connect_timeout": round(_ANSWER_S)})
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _make_database(path: Path) -> None:
    """Make an SQLite database with MLflow's tables, whole or not at all, where there is none.

    MLflow makes them one after the other in the final file: two folds that begin at once, or a kill in between, leave
    a database that no MLflow opens again.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            with atomic_file(path) as partial:
                MlflowClient(tracking_uri=_SQLITE + str(partial)).search_experiments(max_results=1)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no answer"])[0]
