"""What a schedule runs again on unchanged data trains nothing; on changed data it trains."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.demo_data import make_demo_data
from pipelines.local import RunInterruptedError, run_local
from spine.settings import child_environment, settings

pytestmark = pytest.mark.slow

RECIPE = {
    "name": "tiny",
    "about": "Hardly trained.",
    "plan": {
        "planner": "ExperimentPlanner",
        "spacing_mm": [8.0, 8.0, 8.0],
        "patch": [16, 16, 32],
        "batch_size": 2,
        "network": {"features_per_stage": [4, 8, 8]},
    },
    "training": {
        "folds": [0],
        "epochs": 1,
        "iterations_per_epoch": 2,
        "validation_iterations_per_epoch": 1,
        "augmentation_workers": 0,
    },
}
POLICY = {
    "name": "lenient",
    "about": "Anything passes.",
    "minimum_scans": 2,
    "floors": {"dice_scan_mean": 0.0},
    "separate_approver": False,
}


def call(repository: Path, *command: str) -> None:
    identity = {f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.defpath))
    environment = child_environment(PATH=path, DVC_SITE_CACHE_DIR=str(repository.parent / "dvc-site"), **identity)
    subprocess.run(command, cwd=repository, env=environment, check=True, capture_output=True)


@pytest.fixture
def scheduled(tmp_path, kfp, spineline, profile, monkeypatch):
    """The repository, and a function that does what the schedule on its branch would: the graph with its arguments."""
    root = tmp_path / "root"
    monkeypatch.setenv("SPINELINE_ACTOR", "tester")
    monkeypatch.setenv("SPINELINE_THREADS", "1")
    monkeypatch.setenv("SPINELINE_REMOTE", str(root / "dvc-remote"))
    settings.cache_clear()
    repository = make_demo_data(root, scans=10)
    for name, content in {"tiny": RECIPE, "lenient": POLICY}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    told = spineline(
        "run", "--on", "kubernetes", "--profile", profile, "--cron", "0 2 * * *", "--dataset", "main",
        "--repository", f"file://{repository}", "--recipe", "tiny.yaml", "--policy", "lenient.yaml",
    )  # fmt: skip
    assert told.code == 0, told.err
    given = {**kfp.schedules[0].runtime_config.parameters, "root": str(root)}

    def run(*, until_it_trains=False):
        epochs = []

        def see(event):
            if event.step == "train_folds" and "epoch" in f"{event.task} {event.note}":
                epochs.append(event)
                if until_it_trains:
                    raise KeyboardInterrupt

        try:
            done = run_local(pipeline="train-candidate", arguments=given, root=root, on_event=see, fold_groups=[[0]])
        except RunInterruptedError:
            return {}, epochs
        return done.records, epochs

    return repository, run


def test_a_schedule_trains_only_where_the_hash_of_the_data_has_changed(scheduled):
    repository, run = scheduled
    first, epochs = run()
    assert epochs

    (repository / "README.md").write_text("The branch moves, its data do not.\n")
    call(repository, "git", "add", "--all")
    call(repository, "git", "commit", "--quiet", "--message", "Say more")
    again, epochs = run()
    assert epochs == []
    for step in ("pull_dataset", "plan_training", "train_folds", "evaluate_folds", "register_candidate"):
        assert again[step] == first[step], step

    parameters = yaml.safe_load((repository / "params.yaml").read_text())
    parameters["split"]["seed"] = 2
    (repository / "splits.json").unlink()
    (repository / "params.yaml").write_text(yaml.safe_dump(parameters))
    call(repository, sys.executable, "-m", "dvc", "repro", "--quiet")
    call(repository, "git", "add", "--all")
    call(repository, "git", "commit", "--quiet", "--message", "Split otherwise")
    call(repository, sys.executable, "-m", "dvc", "push", "--quiet")
    _, epochs = run(until_it_trains=True)
    assert epochs
