"""A training whose logs are JSON: lines name the run and the fold; and what the monitor tells of it afterwards."""

import json
import shutil
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from components.monitor_root.collector import RootCollector
from components.train_folds.candidate import LOG_FILE
from spine.settings import Settings, child_environment
from spine.storage import strict_json


@pytest.mark.slow
def test_every_line_of_a_training_is_an_object_and_the_monitor_tells_what_came_of_it(planned_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(planned_root.root, root, ignore=shutil.ignore_patterns("candidates"))
    recipe = planned_root.training(seed=61, epochs=2)
    done = subprocess.run(
        [sys.executable, "-m", "components.train_folds", "--root", root, "--plan", planned_root.plan.text(),
         "--recipe", strict_json(recipe.model_dump(mode="json")), "--folds", "[0]"],
        env=child_environment(
            SPINELINE_ROOT=str(root), SPINELINE_LOG_FORMAT="json", SPINELINE_RUN="run-1", CUDA_VISIBLE_DEVICES=""
        ),
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["run"] for line in told} == {"run-1"}
    epochs = [line for line in told if "epoch" in line["message"]]
    assert epochs and {line["fold"] for line in epochs} == {0}
    (log,) = root.rglob(LOG_FILE)
    # Beside them are what nnU-Net prints, and the fold's record.
    own = [json.loads(line) for line in log.read_text().splitlines() if '"logger"' in line]
    assert {(line["run"], line["fold"]) for line in own} == {("run-1", 0)}
    registry = CollectorRegistry()
    registry.register(RootCollector(root, Settings(root=root), days=1, pause_s=0))
    (candidate,) = (path.name for path in (root / "candidates").iterdir() if path.is_dir())
    fold = {"candidate": candidate, "fold": "0"}
    assert registry.get_sample_value("spineline_training_status", {**fold, "status": "finished"}) == 1
    assert registry.get_sample_value("spineline_training_epoch", fold) == 2
    assert registry.get_sample_value("spineline_training_epochs", fold) == 2
    assert registry.get_sample_value("spineline_training_last_checkpoint_timestamp_seconds", fold) > 1e9
