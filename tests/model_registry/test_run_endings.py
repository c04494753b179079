"""Trainings that died: how each ended by what lies in its folders, and their end in journals and in MLflow."""

import shutil
import subprocess
import sys

import pytest

from model_registry.mlflow_store import MlflowStore
from model_registry.run_endings import candidate_status, end_dead_trainings, fold_folders
from spine.journal import JOURNAL_FILE, Journal, last_status
from spine.settings import Settings

CANDIDATE = "c0ffeec0ffee"
HOLDER = """
import sys, time
from pathlib import Path
from spine.locks import held
with held(Path(sys.argv[1]), wait_s=1, on_wait=print):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory):
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowStore(f"sqlite:///{path}", artifacts=path.parent, model_name="m")
    return path


@pytest.fixture
def root(tmp_path, empty_mlflow):
    (tmp_path / "root" / "mlflow").mkdir(parents=True)
    shutil.copy(empty_mlflow, tmp_path / "root" / "mlflow" / "mlflow.db")
    return tmp_path / "root"


def fold_folder(root, fold):
    return root / "candidates" / CANDIDATE / "Dataset001_Spine" / "Trainer__Plans__3d" / f"fold_{fold}"


def train(root, *, needed="[0, 1]", own="RUNNING", **folds):
    """Leave what a training leaves that wrote these statuses last; ``fold_0`` None is one that had no batch yet."""
    candidate = root / "candidates" / CANDIDATE
    candidate.mkdir(parents=True, exist_ok=True)
    journal = Journal(candidate / JOURNAL_FILE)
    journal.parameters({"recipe": "demo", "training.folds": needed})
    journal.status(own)
    for name, status in folds.items():
        folder = fold_folder(root, name.removeprefix("fold_"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "heartbeat").write_text("1")
        if status:
            Journal(folder / JOURNAL_FILE).status("RUNNING")
            Journal(folder / JOURNAL_FILE).metrics({"loss": 0.5}, step=1)
            Journal(folder / JOURNAL_FILE).status(status)
    return candidate


@pytest.mark.parametrize(
    ("left", "status"),
    [
        ({"fold_0": "RUNNING"}, "KILLED"),
        ({"fold_0": None}, "KILLED"),
        ({"fold_0": "FINISHED", "fold_1": "RUNNING"}, "KILLED"),
        ({"fold_0": "FINISHED", "fold_1": "FAILED"}, "FAILED"),
        ({"fold_0": "KILLED", "fold_1": "FAILED"}, "FAILED"),
        ({"fold_0": "FINISHED", "fold_1": "FINISHED"}, "FINISHED"),
        ({"fold_0": "FINISHED"}, None),
        ({}, None),
        ({"fold_0": "RUNNING", "own": "FAILED"}, "FAILED"),
        ({"fold_0": "FINISHED", "fold_1": "FINISHED", "own": "FINISHED"}, "FINISHED"),
    ],
)
def test_a_candidates_status_follows_from_its_folds(root, left, status):
    assert candidate_status(train(root, **left)) == status


def test_folds_are_those_in_which_training_began(root):
    candidate = train(root, fold_0="RUNNING", fold_3=None)
    (fold_folder(root, 1)).mkdir()
    assert sorted(fold_folders(candidate)) == [0, 3]


def shown(root):
    """The status of every run in MLflow, by its name."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("spineline")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return {run.info.run_name: run.info.status for run in runs}


def test_a_killed_training_is_ended_in_its_journals_and_in_mlflow(root):
    candidate = train(root, fold_0="FINISHED", fold_1="RUNNING")
    assert end_dead_trainings(root, Settings(root=root)) == [CANDIDATE]
    assert last_status(candidate / JOURNAL_FILE) == last_status(fold_folder(root, 1) / JOURNAL_FILE) == "KILLED"
    assert shown(root) == {f"demo {CANDIDATE}": "KILLED", "fold 0": "FINISHED", "fold 1": "KILLED"}
    assert end_dead_trainings(root, Settings(root=root)) == []


def test_a_training_that_finished_stays_so_and_needs_no_mlflow(root):
    train(root, fold_0="FINISHED", fold_1="FINISHED", own="FINISHED")
    end_dead_trainings(root, Settings(root=root))  # delivers what is left
    away = Settings(root=root, tracking_uri="http://127.0.0.1:9")
    assert end_dead_trainings(root, away) == []
    assert set(shown(root).values()) == {"FINISHED"}


def test_a_training_whose_lock_is_held_is_left_alone(root):
    candidate = train(root, fold_0="RUNNING")
    command = [sys.executable, "-c", HOLDER, str(fold_folder(root, 0))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            assert end_dead_trainings(root, Settings(root=root)) == []
        finally:
            holder.kill()
    assert last_status(candidate / JOURNAL_FILE) == "RUNNING"
    assert end_dead_trainings(root, Settings(root=root)) == [CANDIDATE]


def test_an_end_that_mlflow_does_not_take_is_a_warning_and_is_delivered_later(root, caplog):
    train(root, fold_0="RUNNING")
    assert end_dead_trainings(root, Settings(root=root, tracking_uri="http://127.0.0.1:9")) == [CANDIDATE]
    (told,) = [line.message for line in caplog.records if "earlier trainings" in line.message]
    assert "MLflow at http://127.0.0.1:9" in told and "\n" not in told
    assert end_dead_trainings(root, Settings(root=root)) == []
    assert shown(root) == {f"demo {CANDIDATE}": "KILLED", "fold 0": "KILLED"}


def test_a_root_without_candidates_has_nothing_to_end(tmp_path):
    assert end_dead_trainings(tmp_path, Settings(root=tmp_path)) == []
