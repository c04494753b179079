"""`spineline run --recipe quick`: five folds of the phantom set, two of them killed on the way, and what is seen."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from pipelines.demo_data import make_demo_data
from spine.labels import VERTEBRAE

pytestmark = pytest.mark.slow


def fold_process(fold: int, root: str) -> psutil.Process | None:
    """The process that trains a fold of the run in ``root``."""
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if "components.train_folds.fold" in command and root in command and command[-3:-2] == [str(fold)]:
            return process
    return None


def kill_when_it_has_saved(fold: int, root, killed: dict[int, int]) -> None:
    """Kill a fold's process -9 once it has written a checkpoint."""
    deadline = time.monotonic() + 400
    while fold not in killed and time.monotonic() < deadline:
        saved = list((root / "candidates").glob(f"*/*/*/fold_{fold}/checkpoint_epoch_*.pth"))
        process = fold_process(fold, str(root)) if saved else None
        if process:
            process.send_signal(signal.SIGKILL)
            killed[fold] = process.pid
        time.sleep(0.05)


@pytest.fixture(scope="module")
def quick(lenient_policy, tmp_path_factory):
    """The run's root, its outcome, what it said, and the processes that were killed."""
    root = tmp_path_factory.mktemp("quick") / "state"
    root.mkdir()
    repository = make_demo_data(root, scans=14)
    (root / "lenient.yaml").write_text(lenient_policy)
    killed: dict[int, int] = {}
    for fold in (1, 3):
        threading.Thread(target=kill_when_it_has_saved, args=(fold, root, killed), daemon=True).start()
    environment = {**os.environ, "SPINELINE_ROOT": str(root), "SPINELINE_ACTOR": "tester", "COLUMNS": "200"}
    command = [sys.executable, "-m", "pipelines.cli", "run", "--recipe", "quick", "--repository", str(repository)]
    command += ["--policy", str(root / "lenient.yaml"), "--json"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=900)
    return root, done, killed


def test_it_completes_although_two_folds_were_killed(quick):
    root, done, killed = quick
    assert sorted(killed) == [1, 3]
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads(done.stdout)
    assert sorted(record["fold"] for record in outcome["checkpoints"]) == [0, 1, 2, 3, 4]
    assert outcome["version"]["version"] == 1
    log = next((root / "runs").glob("*/run.log")).read_text()
    for fold in killed:
        assert f"fold {fold}: killed by SIGKILL; started again from its newest checkpoint" in log


def test_the_killed_folds_went_on_from_a_checkpoint(quick):
    root, _, killed = quick
    for fold in killed:
        (log,) = (root / "candidates").glob(f"*/*/*/fold_{fold}/training.log")
        assert f"fold {fold}: continued from checkpoint_epoch_" in log.read_text()


@pytest.fixture(scope="module")
def tracked(quick):
    """MLflow's client, the candidate's run and its children by fold."""
    from mlflow import MlflowClient

    root, _, _ = quick
    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("spineline").experiment_id])
    (candidate,) = [run for run in runs if "spineline.candidate" in run.data.tags]
    children = {
        run.data.tags["spineline.fold"]: run
        for run in runs
        if run.data.tags.get("mlflow.parentRunId") == candidate.info.run_id
    }
    return client, candidate, children


def test_mlflow_has_one_candidate_with_five_children(tracked):
    _, candidate, children = tracked
    assert sorted(children) == ["0", "1", "2", "3", "4"]
    assert {run.info.status for run in (candidate, *children.values())} == {"FINISHED"}


def test_the_candidate_has_every_parameter(tracked, quick):
    _root, done, _ = quick
    _, candidate, _ = tracked
    outcome = json.loads(done.stdout)
    told = candidate.data.params
    assert told["recipe"] == "quick"
    assert (told["training.epochs"], told["plan.spacing_mm"]) == ("6", "[6.0, 6.0, 6.0]")
    assert told["plans.patch_size"] == "[48, 16, 16]", "arrays run superior-inferior first"
    assert told["dvc_hash"] == outcome["dataset"]["dvc_hash"]
    assert told["git_revision"] == outcome["dataset"]["git_revision"]
    assert told["plans_digest"] == outcome["plan"]["plans_digest"]
    assert {"version.torch", "version.nnunetv2", "code_revision", "image", "started_from"} <= told.keys()
    assert candidate.data.tags["spineline.verdict"] == "pass"
    assert "test/dice_scan_mean" in candidate.data.metrics


def test_every_fold_has_every_epoch_once_in_every_curve(tracked):
    client, _, children = tracked
    names = {vertebra.name for vertebra in VERTEBRAE}
    for fold, run in children.items():
        for curve in ("train_loss", "validation_loss", "pseudo_dice", "learning_rate", "epoch_seconds"):
            steps = [point.step for point in client.get_metric_history(run.info.run_id, curve)]
            assert steps == [1, 2, 3, 4, 5, 6], f"fold {fold}, {curve}"
        by_label = {name.removeprefix("pseudo_dice.") for name in run.data.metrics if name.startswith("pseudo_dice.")}
        assert by_label
        assert by_label <= names
        assert {"patches_per_second", "gradient_overflows", "system/cpu_percent"} <= run.data.metrics.keys()


def test_prometheus_can_read_what_each_fold_left(quick):
    from prometheus_client.parser import text_string_to_metric_families

    root, _, killed = quick
    for fold in range(5):
        (file,) = (root / "candidates").glob(f"*/*/*/fold_{fold}/metrics.prom")
        values = {
            sample.name: sample.value
            for family in text_string_to_metric_families(file.read_text())
            for sample in family.samples
        }
        assert values["spineline_training_epoch"] == values["spineline_training_epochs"] == 6
        assert values["spineline_training_finished"] == 1
        assert values["spineline_training_resumes_total"] == (1 if fold in killed else 0)
