"""The step's program on a GPU: a fold in a process of its own, and folds that wait for one another's device."""

import json
import subprocess
import sys

import pytest

from components.train_folds.candidate import Candidate
from components.train_folds.devices import count_gpus
from components.train_folds.telemetry import METRICS_FILE
from spine.journal import JOURNAL_FILE
from spine.nnunet import checkpoints
from spine.nnunet.checkpoint_files import FINAL
from spine.records import parse_checkpoints
from spine.settings import child_environment

pytestmark = pytest.mark.slow


@pytest.fixture
def run(planned_root):
    """A function that runs the program on devices; skipped where there is no GPU."""
    if not count_gpus():
        pytest.skip("no GPU")

    def with_devices(devices, folds, *, seed):
        recipe = planned_root.training(seed=seed, compile=False)
        given = {"--root": str(planned_root.root), "--plan": planned_root.plan.text(), "--folds": json.dumps(folds)}
        command = [sys.executable, "-m", "components.train_folds", "--recipe", recipe.model_dump_json()]
        command += [word for pair in given.items() for word in pair]
        environment = child_environment(SPINELINE_DEVICES=devices, SPINELINE_TRAINING_THREADS="1")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
        candidate = Candidate(root=planned_root.root, plan=planned_root.plan, recipe=recipe.training, start_from=None)
        return done, candidate

    return with_devices


def test_folds_train_one_after_the_other_on_the_one_gpu(run, planned_root):
    import torch

    done, candidate = run("0", [0, 1], seed=60)
    assert done.returncode == 0, done.stderr
    records = parse_checkpoints(done.stdout.splitlines()[-1])
    assert [record.fold for record in records] == [0, 1]
    for record in records:
        fold = planned_root.root / record.folder
        assert checkpoints.load(fold / FINAL, digest=record.weights_sha256)["grad_scaler_state"] is not None
        assert torch.cuda.get_device_name(0) in (fold / JOURNAL_FILE).read_text()
        assert "device_memory_bytes" in (fold / METRICS_FILE).read_text()
        assert fold == candidate.fold_folder(record.fold)


def test_a_gpu_is_given_to_one_process_at_a_time(run):
    done, _ = run("0,0", [0, 1], seed=61)
    assert done.returncode == 2
    assert "SPINELINE_DEVICES is '0,0'; expected" in done.stderr.splitlines()[-1]
