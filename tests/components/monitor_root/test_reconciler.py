"""The monitor keeps a real MLflow equal to a real ledger, through outages, and ends runs of dead trainings there."""

import shutil
import time
from dataclasses import dataclass

import pytest
from mlflow import MlflowClient

from components.monitor_root.reconciler import Reconciler
from model_registry.lifecycle import Registry
from model_registry.mlflow_aliases import STAGE_TAG
from model_registry.mlflow_store import MlflowStore
from model_registry.tracking import deliver
from spine.heartbeat import HEARTBEAT_FILE
from spine.journal import JOURNAL_FILE, Journal
from spine.settings import Settings
from tests.mlflow_server import MlflowServer

MODEL = "vertebra-segmentation"
WHO = {"actor": "ann", "reason": "for tests"}
SOON_S = 30.0


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory):
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowStore(f"sqlite:///{path}", artifacts=path.parent, model_name=MODEL)
    return path


@dataclass
class Beside:
    """A ledger with two approved versions, and MLflow with the same."""

    registry: Registry
    services: Settings
    client: MlflowClient

    def reconciler(self, *, dead_after_s=300.0):
        return Reconciler(self.registry.root, self.services, pause_s=0.1, dead_after_s=dead_after_s)

    def aliases(self):
        (model,) = self.client.search_registered_models()
        return {alias: int(version) for alias, version in model.aliases.items()}

    def promote(self, version):
        self.registry.promote(version, expected_serving=self.registry.state().serving, **WHO)


@pytest.fixture
def beside(registry_with_two_versions, empty_mlflow, tmp_path):
    registry = registry_with_two_versions
    uri = f"sqlite:///{shutil.copy(empty_mlflow, tmp_path / 'mlflow.db')}"
    store = MlflowStore(uri, artifacts=tmp_path / "artifacts", model_name=MODEL)
    run = store.candidate_run("c0ffeec0ffee", name="demo")
    store.set_status(run, "FINISHED", time_s=time.time())
    for _, known in sorted(registry.state().versions.items()):
        store.create_version(run_id=run, source=tmp_path.as_uri(), digest=known.model_digest, tags={})
    services = Settings(root=registry.root, tracking_uri=uri)
    return Beside(registry, services, MlflowClient(tracking_uri=uri, registry_uri=uri))


def await_that(condition, *, within_s=SOON_S):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_aliases_and_tags_follow_every_event_and_what_was_changed_by_hand_is_restored(beside):
    with beside.reconciler() as reconciler:
        await_that(lambda: beside.aliases() == {"candidate": 2})
        beside.promote(1)
        await_that(lambda: beside.aliases() == {"candidate": 2, "champion": 1})
        beside.promote(2)
        await_that(lambda: beside.aliases() == {"champion": 2, "previous": 1})
        beside.registry.roll_back(to=None, **WHO)
        await_that(lambda: beside.aliases() == {"champion": 1})
        beside.client.delete_registered_model_alias(MODEL, "champion")
        await_that(lambda: beside.aliases() == {"champion": 1})
        stages = {version.version: version.tags[STAGE_TAG] for version in beside.client.search_model_versions()}
        assert {int(number): stage for number, stage in stages.items()} == {1: "promoted", 2: "replaced"}
        await_that(lambda: reconciler.standing().differences == ())
    assert (reconciler.standing().is_reachable, reconciler.standing().failures) == (True, 0)
    assert time.time() - reconciler.standing().reconciled_at_s < SOON_S


@pytest.mark.slow
def test_a_server_that_starts_later_and_goes_and_comes_back_is_brought_up_to_date(beside, tmp_path):
    server = MlflowServer(tmp_path / "mlflow.db")
    beside.services = beside.services.model_copy(update={"tracking_uri": server.uri})
    try:
        with beside.reconciler() as reconciler:
            beside.promote(1)
            await_that(lambda: reconciler.standing().failures > 0)
            assert (reconciler.standing().is_reachable, reconciler.standing().differences) == (False, None)
            server.start()
            await_that(lambda: beside.aliases() == {"candidate": 2, "champion": 1}, within_s=60)
            server.kill()
            beside.promote(2)
            await_that(lambda: reconciler.standing().is_reachable is False)
            server.start()
            await_that(lambda: beside.aliases() == {"champion": 2, "previous": 1}, within_s=60)
            await_that(lambda: reconciler.standing().is_reachable is True)
    finally:
        server.kill()


def test_another_bundle_under_a_versions_number_stays_a_difference_and_gets_no_alias(beside, caplog):
    beside.client.set_model_version_tag(MODEL, "2", "spineline.bundle", "sha256:" + "0" * 64)
    beside.promote(1)
    beside.promote(2)
    reconciler = beside.reconciler()
    for _ in range(3):
        assert reconciler.reconcile()
    (difference,) = reconciler.standing().differences
    assert difference.startswith("MLflow's version 2 holds bundle 000000000000, the ledger says bundle ")
    assert beside.aliases() == {"previous": 1}
    assert len([line for line in caplog.records if difference in line.message]) == 1, "it is logged once"


def test_a_ledger_that_can_not_be_read_changes_nothing_and_is_followed_again(beside, tmp_path):
    beside.promote(1)
    reconciler = beside.reconciler()
    assert reconciler.reconcile()
    (beside.registry.root / "ledger").rename(tmp_path / "ledger")
    beside.client.delete_registered_model_alias(MODEL, "champion")
    assert not reconciler.reconcile()
    standing = reconciler.standing()
    assert (standing.is_reachable, standing.differences, standing.failures) == (True, None, 1)
    assert beside.aliases() == {"candidate": 2}
    (tmp_path / "ledger").rename(beside.registry.root / "ledger")
    assert reconciler.reconcile()
    assert beside.aliases() == {"candidate": 2, "champion": 1}


def test_an_unforeseen_error_does_not_end_the_thread(beside, monkeypatch, caplog):
    broken = pytest.MonkeyPatch()
    broken.setattr("model_registry.mlflow_models.compare", lambda *_: 1 / 0)
    with beside.reconciler() as reconciler:
        await_that(lambda: reconciler.standing().failures > 0)
        broken.undo()
        await_that(lambda: beside.aliases() == {"candidate": 2})
    assert "ZeroDivisionError" in caplog.text


def test_where_there_is_no_mlflow_nothing_is_made(tmp_path):
    (tmp_path / "root").mkdir()
    reconciler = Reconciler(tmp_path / "root", Settings(root=tmp_path / "root"), pause_s=1, dead_after_s=300)
    assert reconciler.reconcile() and reconciler.standing() is None
    assert list((tmp_path / "root").iterdir()) == []


def test_a_root_that_can_only_be_read_is_enough(beside):
    beside.promote(1)
    before = {path: path.stat().st_mtime_ns for path in beside.registry.root.rglob("*")}
    reconciler = beside.reconciler(dead_after_s=0.01)
    assert reconciler.reconcile() and reconciler.reconcile()
    assert {path: path.stat().st_mtime_ns for path in beside.registry.root.rglob("*")} == before


class Training:
    """A candidate of two folds as training leaves it in its journals and in MLflow."""

    def __init__(self, beside, name="decadedecade"):
        self.beside = beside
        self.folder = beside.registry.root / "candidates" / name
        model = self.folder / "Dataset001_Spine" / "Trainer__Plans__3d"
        self.folds = {fold: model / f"fold_{fold}" for fold in (0, 1)}
        self.own = Journal(self.folder / JOURNAL_FILE)
        self.own.path.parent.mkdir(parents=True)
        self.own.parameters({"training.folds": "[0, 1]"})

    def fold(self, number):
        self.folds[number].mkdir(parents=True, exist_ok=True)
        return Journal(self.folds[number] / JOURNAL_FILE)

    def beat(self, *folds):
        for fold in folds:
            (self.folds[fold] / HEARTBEAT_FILE).write_text(str(time.time_ns()))

    def start(self, *folds):
        self.own.status("RUNNING")
        for fold in folds:
            self.fold(fold).status("RUNNING")
        self.beat(*folds)
        self.deliver()

    def deliver(self):
        store = MlflowStore(self.beside.services.mlflow_uri, artifacts=self.folder, model_name=MODEL)
        journals = {number: folder / JOURNAL_FILE for number, folder in self.folds.items()}
        deliver(self.folder, candidate_name="training", journals=journals, store=store)

    def statuses(self):
        client = self.beside.client
        runs = client.search_runs([client.get_experiment_by_name("spineline").experiment_id])
        return {run.info.run_name: run.info.status for run in runs if run.info.run_name != "demo"}


@pytest.fixture
def training(beside):
    return Training(beside)


def test_runs_of_a_training_whose_heartbeats_stopped_are_ended_and_go_on_with_a_retry(beside, training):
    training.start(0, 1)
    reconciler = beside.reconciler(dead_after_s=0.3)
    reconciler.reconcile()
    assert set(training.statuses().values()) == {"RUNNING"}
    time.sleep(0.4)
    training.beat(1)
    reconciler.reconcile()
    assert training.statuses() == {"training": "RUNNING", "fold 0": "KILLED", "fold 1": "RUNNING"}
    time.sleep(0.4)
    reconciler.reconcile()
    assert set(training.statuses().values()) == {"KILLED"}
    assert reconciler.standing().ended == {"KILLED": 3}
    training.deliver()
    assert set(training.statuses().values()) == {"KILLED"}, "nothing new is in the journals"
    training.start(0, 1)
    reconciler.reconcile()
    assert set(training.statuses().values()) == {"RUNNING"}


@pytest.mark.parametrize(
    ("last", "status"), [("FAILED", "FAILED"), ("FINISHED", "FINISHED"), ("KILLED", "KILLED"), ("RUNNING", "KILLED")]
)
def test_what_a_dead_training_recorded_last_and_did_not_deliver_counts(beside, training, last, status):
    training.start(0, 1)
    for fold in (0, 1):
        training.fold(fold).status(last)
    reconciler = beside.reconciler(dead_after_s=0.2)
    reconciler.reconcile()
    time.sleep(0.3)
    reconciler.reconcile()
    assert set(training.statuses().values()) == {status}


def test_folds_that_wait_for_a_machine_keep_their_candidate_running(beside, training):
    training.start(0)
    training.fold(0).status("FINISHED")
    training.deliver()
    reconciler = beside.reconciler(dead_after_s=0.1)
    for _ in range(3):
        reconciler.reconcile()
        time.sleep(0.2)
    assert training.statuses() == {"training": "RUNNING", "fold 0": "FINISHED"}


@pytest.mark.parametrize("name", ["abad1deaabad", "../candidates"])
def test_runs_of_candidates_that_are_not_below_the_root_are_left_alone(beside, training, name):
    training.start(0, 1)
    store = MlflowStore(beside.services.mlflow_uri, artifacts=training.folder, model_name=MODEL)
    store.candidate_run(name, name="other")
    reconciler = beside.reconciler(dead_after_s=0.1)
    for _ in range(2):
        reconciler.reconcile()
        time.sleep(0.2)
    assert training.statuses()["other"] == "RUNNING"
