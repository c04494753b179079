"""A training that is killed leaves RUNNING runs in MLflow: the monitor's code ends them, and a retry finishes them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient

from components.monitor_root.dead_runs import DeadRuns
from components.train_folds.candidate import Candidate
from model_registry.mlflow_names import KUBEFLOW_RUN_TAG
from model_registry.run_endings import end_runs
from model_registry.tracking import open_store
from spine.heartbeat import HEARTBEAT_FILE
from spine.journal import JOURNAL_FILE, JournalReader
from spine.settings import Settings, child_environment

pytestmark = pytest.mark.slow


class Training:
    """The step's program on a root of its own, and what MLflow shows of it."""

    def __init__(self, planned, root):
        self.root, self.recipe = root, planned.training(seed=77, epochs=6)
        self.plan = planned.plan
        candidate = Candidate(root=root, plan=self.plan, recipe=self.recipe.training, start_from=None)
        self.folder, self.fold = candidate.folder, candidate.fold_folder(0)
        self.services = Settings(root=root)
        self.store = open_store(root, self.services)

    def start(self, run):
        command = [sys.executable, "-m", "components.train_folds", "--root", str(self.root)]
        command += ["--plan", self.plan.text(), "--recipe", self.recipe.model_dump_json(), "--folds", "[0]"]
        environment = child_environment(
            SPINELINE_ROOT=str(self.root), SPINELINE_DEVICES="cpu", SPINELINE_RUN=run, SPINELINE_TRAINING_THREADS="1"
        )
        with (self.root / "log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def runs(self):
        client = MlflowClient(tracking_uri=self.services.mlflow_uri)
        experiment = client.get_experiment_by_name("spineline")
        return client.search_runs([experiment.experiment_id]) if experiment else []

    def statuses(self):
        return {run.info.status for run in self.runs()}

    def await_that(self, condition):
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, (self.root / "log").read_text()[-3000:]
            time.sleep(0.05)

    def journal_statuses(self):
        return [entry.status for entry, _ in JournalReader(self.fold / JOURNAL_FILE) if entry.status]


def kill(process):
    """End the group's process and, before it can notice, the process of the fold."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def test_a_killed_training_ends_in_mlflow_and_a_retry_finishes_the_same_runs(planned_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(planned_root.root, root, symlinks=True, ignore=shutil.ignore_patterns("candidates"))
    training = Training(planned_root, root)
    process = training.start("run-1")
    training.await_that(lambda: len(training.runs()) == 2 and training.statuses() == {"RUNNING"})
    kill(process)
    assert training.statuses() == {"RUNNING"} and training.journal_statuses() == ["RUNNING"]
    assert (training.fold / HEARTBEAT_FILE).is_file()

    dead = DeadRuns(root, dead_after_s=0.2)
    assert dead.end(training.store, time_s=time.time()) == {}
    time.sleep(0.3)
    assert set(dead.end(training.store, time_s=time.time()).values()) == {"KILLED"}
    assert training.statuses() == {"KILLED"}

    process = training.start("run-2")
    training.await_that(lambda: training.statuses() == {"RUNNING"})
    assert process.wait(180) == 0, (root / "log").read_text()[-3000:]
    assert training.journal_statuses() == ["RUNNING", "KILLED", "RUNNING", "FINISHED"]
    assert training.statuses() == {"FINISHED"}
    assert len(training.runs()) == 2
    assert {run.data.tags[KUBEFLOW_RUN_TAG] for run in training.runs()} == {"run-2"}
    assert end_runs(training.store, kubeflow_run="run-2", status="KILLED") == []
    assert json.loads((root / "log").read_text().splitlines()[-1])
