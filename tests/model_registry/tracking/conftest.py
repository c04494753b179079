"""A candidate of two folds that only writes journals, the databases that it is drawn in, and a real server."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from model_registry.mlflow_runs import CANDIDATE_TAG, EXPERIMENT, FOLD_TAG
from model_registry.mlflow_store import MlflowStore
from model_registry.tracking import LiveTracking, deliver
from spine.journal import JOURNAL_FILE, Journal
from tests.mlflow_server import MlflowServer

FOLDS = (0, 1)


@dataclass(frozen=True)
class Candidate:
    """What a training writes, and what MLflow's own client reads of it."""

    folder: Path
    database: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.database}"

    @property
    def journals(self) -> dict[int, Path]:
        return {fold: self.folder / f"fold_{fold}" / JOURNAL_FILE for fold in FOLDS}

    @property
    def own(self) -> Journal:
        return Journal(self.folder / JOURNAL_FILE)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def train(self, first: int, last: int, *, loss: float = 0.5) -> None:
        """Tell the epochs from ``first`` to ``last`` of each fold."""
        for path in self.journals.values():
            for step in range(first, last + 1):
                values = {"loss": loss, **{f"dice.L{label}": 0.5 for label in range(1, 6)}}
                Journal(path).metrics(values, step=step)

    def store(self, uri: str | None = None) -> MlflowStore:
        return MlflowStore(uri or self.uri, artifacts=self.folder / "artifacts", model_name="m")

    def deliver(self) -> str:
        return deliver(self.folder, candidate_name="demo", journals=self.journals, store=self.store())

    def tracking(self, uri: str | None = None) -> LiveTracking:
        return LiveTracking(
            self.folder,
            candidate_name="demo",
            journals=self.journals,
            open_store=lambda: self.store(uri),
            period_s=0.05,
        )

    def runs(self, tag: str) -> list[str]:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        found = self.client.search_runs([experiment.experiment_id]) if experiment else []
        return [run.info.run_id for run in found if tag in run.data.tags]

    @property
    def folds(self) -> list[str]:
        return self.runs(FOLD_TAG)

    def statuses(self) -> set[str]:
        return {self.client.get_run(run).info.status for run in self.folds}

    def steps(self, run: str, name: str = "loss") -> list[int]:
        return [point.step for point in self.client.get_metric_history(run, name)]

    def await_epoch(self, step: int, *, within_s: float = 60) -> None:
        """Wait until every fold has been drawn up to ``step``."""
        deadline = time.monotonic() + within_s
        while len(self.folds) < len(FOLDS) or any(step not in self.steps(run) for run in self.folds):
            assert time.monotonic() < deadline, f"epoch {step} did not arrive"
            time.sleep(0.1)

    def assert_drawn_once(self, last: int) -> None:
        """One candidate with a run a fold, each with exactly one point an epoch."""
        (parent,) = self.runs(CANDIDATE_TAG)
        assert sorted(self.client.get_run(run).data.tags[FOLD_TAG] for run in self.folds) == ["0", "1"]
        for run in self.folds:
            assert self.client.get_run(run).data.tags["mlflow.parentRunId"] == parent
            for name in ("loss", "dice.L5"):
                assert self.steps(run, name) == list(range(1, last + 1))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowStore(f"sqlite:///{path}", artifacts=path.parent, model_name="m")
    return path


@pytest.fixture
def candidate(tmp_path: Path, empty_database: Path) -> Candidate:
    for fold in FOLDS:
        (tmp_path / "candidate" / f"fold_{fold}").mkdir(parents=True)
    return Candidate(tmp_path / "candidate", Path(shutil.copy(empty_database, tmp_path / "mlflow.db")))


@pytest.fixture
def server(candidate: Candidate) -> Iterator[MlflowServer]:
    server = MlflowServer(candidate.database)
    try:
        server.start()
        yield server
    finally:
        server.kill()
