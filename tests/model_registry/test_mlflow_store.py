"""MLflow on real SQLite databases: what is recorded, versions once a digest, and aliases that follow the ledger."""

import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from model_registry.errors import TrackingError
from model_registry.lifecycle import Registry
from model_registry.mlflow_store import EXPERIMENT, FoldCurves, MlflowStore, aliases_of

MODEL = "vertebra-segmentation"


def open_store(database: Path, *, options: str = "") -> MlflowStore:
    return MlflowStore(f"sqlite:///{database}{options}", artifacts=database.parent / "artifacts", model_name=MODEL)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them: making one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("mlflow") / "new" / "mlflow.db"
    open_store(path)
    return path


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Path:
    return Path(shutil.copy(empty_database, tmp_path / "mlflow.db"))


@pytest.fixture
def store(database: Path) -> MlflowStore:
    return open_store(database)


@pytest.fixture
def client(database: Path) -> MlflowClient:
    """MLflow's own client on the same database."""
    uri = f"sqlite:///{database}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def record(store: MlflowStore, tmp_path: Path) -> Callable[..., str]:
    """A function that records a candidate of two folds and gives its run's id."""
    report = tmp_path / "report.html"
    report.write_text("<html>")

    def write(**changes: object) -> str:
        content = {
            "name": "demo abc",
            "parameters": {"recipe": "demo", "folds": "[0, 1]"},
            "metrics": {"test.dice_scan_mean": 0.9, "test.region.L1-L5.dice": 0.8},
            "folds": [FoldCurves(fold, {"train_loss": [0.5, -0.25], "pseudo_dice": [0.1, 0.2]}) for fold in (0, 1)],
            "files": [report],
        }
        return store.record_candidate(**{**content, **changes})  # type: ignore[arg-type]

    return write


@pytest.fixture
def versions(store: MlflowStore, record: Callable[..., str], tmp_path: Path) -> Callable[..., list[int]]:
    """A function of digests that creates a version each."""
    run = record(folds=[])

    def create(*digests: str) -> list[int]:
        return [store.create_version(run_id=run, bundle=tmp_path, digest=digest, tags={}) for digest in digests]

    return create


def test_a_candidate_is_a_finished_run_with_its_parameters_metrics_and_files(
    client: MlflowClient, record: Callable[..., str], tmp_path: Path
) -> None:
    run = client.get_run(record())
    assert (run.info.run_name, run.info.status) == ("demo abc", "FINISHED")
    assert run.data.params == {"recipe": "demo", "folds": "[0, 1]"}
    assert run.data.metrics == {"test.dice_scan_mean": 0.9, "test.region.L1-L5.dice": 0.8}
    assert client.get_experiment(run.info.experiment_id).name == EXPERIMENT
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["report.html"]
    assert list((tmp_path / "artifacts").rglob("report.html"))


def test_every_fold_is_a_child_run_with_its_curves_by_epoch(client: MlflowClient, record: Callable[..., str]) -> None:
    parent = client.get_run(record())
    children = client.search_runs(
        [parent.info.experiment_id], filter_string=f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    )
    assert sorted(run.info.run_name for run in children) == ["fold 0", "fold 1"]
    for run in children:
        curve = client.get_metric_history(run.info.run_id, "train_loss")
        assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, -0.25)]
        assert run.info.status == "FINISHED"


def test_a_long_training_is_recorded_whole(client: MlflowClient, record: Callable[..., str]) -> None:
    parent = record(folds=[FoldCurves(0, {name: [float(epoch) for epoch in range(400)] for name in "abc"})])
    child = client.search_runs(
        [client.get_run(parent).info.experiment_id], filter_string=f"tags.mlflow.parentRunId = '{parent}'"
    )[0]
    for name in "abc":
        steps = [point.step for point in client.get_metric_history(child.info.run_id, name)]
        assert sorted(steps) == list(range(1, 401))


def test_an_epoch_without_a_value_is_left_out_of_its_curve(client: MlflowClient, record: Callable[..., str]) -> None:
    """A pseudo-Dice of no foreground at all is NaN, which a history keeps as null."""
    parent = record(folds=[FoldCurves(0, {"pseudo_dice": [None, 0.2]})])
    child = client.search_runs(
        [client.get_run(parent).info.experiment_id], filter_string=f"tags.mlflow.parentRunId = '{parent}'"
    )[0]
    curve = client.get_metric_history(child.info.run_id, "pseudo_dice")
    assert [(point.step, point.value) for point in curve] == [(2, 0.2)]


def test_a_digest_becomes_a_version_once(versions: Callable[..., list[int]], database: Path) -> None:
    assert versions("sha256:a", "sha256:b", "sha256:a") == [1, 2, 1]
    again = open_store(database)
    assert [again.version_of(digest) for digest in ("sha256:a", "sha256:b", "sha256:c")] == [1, 2, None]


def test_a_version_leads_to_its_run_and_its_bundle(
    client: MlflowClient, store: MlflowStore, record: Callable[..., str], tmp_path: Path
) -> None:
    run = record()
    folder = tmp_path / "a bundle"
    number = store.create_version(run_id=run, bundle=folder, digest="sha256:a", tags={"recipe": "demo"})
    version = client.get_model_version(MODEL, str(number))
    assert (version.run_id, version.source, version.tags["recipe"]) == (run, folder.as_uri(), "demo")


def test_relative_folders_are_recorded_as_absolute_ones(
    tmp_path: Path, database: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = MlflowStore(f"sqlite:///{database}", artifacts=Path("artifacts"), model_name=MODEL)
    run = store.record_candidate(name="x", parameters={}, metrics={}, folds=[], files=[])
    number = store.create_version(run_id=run, bundle=Path("bundle"), digest="sha256:a", tags={})
    assert client.get_model_version(MODEL, str(number)).source == (tmp_path / "bundle").as_uri()


def test_aliases_follow_the_ledger_and_one_moved_by_hand_is_repaired(
    store: MlflowStore,
    client: MlflowClient,
    versions: Callable[..., list[int]],
    approved: Callable[..., Registry],
) -> None:
    versions("sha256:a", "sha256:b", "sha256:c")
    registry = approved(1, 2, 3)

    def mirrored() -> dict[str, int]:
        store.mirror(registry.state())
        assert store.aliases() == aliases_of(registry.state())
        return store.aliases()

    assert mirrored() == {"candidate": 3}
    registry.promote(1, actor="ann", reason="r", expected_serving=None)
    assert mirrored() == {"candidate": 3, "champion": 1}
    registry.promote(2, actor="ann", reason="r", expected_serving=1)
    assert mirrored() == {"candidate": 3, "champion": 2, "previous": 1}
    client.set_registered_model_alias(MODEL, "champion", "3")
    client.delete_registered_model_alias(MODEL, "previous")
    assert mirrored() == {"candidate": 3, "champion": 2, "previous": 1}
    registry.roll_back(to=None, actor="ann", reason="r")
    registry.revoke(3, actor="ann", reason="r")
    client.set_registered_model_alias(MODEL, "previous", "3")
    assert mirrored() == {"champion": 1}


def test_an_alias_of_somebody_else_is_left_alone(
    store: MlflowStore, client: MlflowClient, versions: Callable[..., list[int]], approved: Callable[..., Registry]
) -> None:
    versions("sha256:a")
    client.set_registered_model_alias(MODEL, "shadow", "1")
    store.mirror(approved(1).state())
    assert store.aliases() == {"candidate": 1, "shadow": 1}


def test_an_empty_registry_has_no_aliases_and_no_versions(store: MlflowStore, registry: Registry) -> None:
    store.mirror(registry.state())
    assert store.aliases() == {}
    assert store.version_of("sha256:a") is None


def test_a_version_that_mlflow_lacks_is_told_in_one_line(store: MlflowStore, approved: Callable[..., Registry]) -> None:
    with pytest.raises(
        TrackingError, match=r"MLflow at sqlite:.*; expected a database or server that answers$"
    ) as told:
        store.mirror(approved(1).state())
    assert "\n" not in str(told.value)


def test_a_locked_database_is_told_in_one_line(database: Path) -> None:
    store = open_store(database, options="?timeout=0.1")
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for attempt in (lambda: store.version_of("sha256:a"), store.aliases):
            with pytest.raises(TrackingError, match="database is locked; expected a database or server") as told:
                attempt()
            assert "\n" not in str(told.value)
    assert store.aliases() == {}


def test_a_place_that_cannot_hold_a_database_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "mlflow.db", tmp_path / "file" / "below" / "mlflow.db"):
        with pytest.raises(TrackingError, match=f"MLflow at sqlite:///{place}: .*") as told:
            open_store(place)
        assert "\n" not in str(told.value)


def test_a_server_that_does_not_answer_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
    store = MlflowStore(uri, artifacts=tmp_path, model_name=MODEL)
    with pytest.raises(TrackingError, match=f"MLflow at {uri}: ") as told:
        store.aliases()
    assert "\n" not in str(told.value)
