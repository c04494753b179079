"""One fold's process: stopped, killed and continued, it ends with the weights of a run that nobody touched."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.train_folds.candidate import LOG_FILE, Candidate
from spine.journal import JOURNAL_FILE, JournalReader
from spine.logs import INTERRUPTED
from spine.nnunet.checkpoint_files import FINAL, held, sealed_digest
from spine.recipe import TrainingRecipe
from spine.records import FoldCheckpoint
from spine.settings import child_environment
from spine.storage import digest_file

pytestmark = pytest.mark.slow


class FoldProcess:
    """Starts the program of one fold and looks at what it leaves behind."""

    def __init__(self, root, plan, recipe: TrainingRecipe, fold: int, **environment: str) -> None:
        self.candidate = Candidate(root=root, plan=plan, recipe=recipe, start_from=None)
        self.folder = self.candidate.fold_folder(fold)
        self.log = self.folder.parent / f"{LOG_FILE}.{fold}"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.command = [sys.executable, "-m", "components.train_folds.fold"]
        self.command += ["--root", str(root), "--plan", plan.text(), "--training", recipe.model_dump_json()]
        self.command += ["--fold", str(fold)]
        self.environment = child_environment(SPINELINE_TRAINING_THREADS="1", CUDA_VISIBLE_DEVICES="", **environment)

    def start(self) -> "subprocess.Popen[str]":
        with self.log.open("a") as log:
            return subprocess.Popen(
                self.command,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                text=True,
                preexec_fn=_deaf_no_more,
            )

    def run(self) -> tuple[int, str]:
        process = self.start()
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def wait_for(self, process, count: int, *, text: str = "epoch") -> None:
        """Wait until the fold has told of ``count`` more things than it had when asked."""
        began = self.told(text)
        while process.poll() is None and self.told(text) < began + count:
            time.sleep(0.01)

    def told(self, text: str) -> int:
        return self.log.read_text().count(text)

    @property
    def newest(self) -> Path | None:
        return next(iter(held(self.folder)), None)

    @property
    def epochs_told(self) -> list[int]:
        return [entry.step for entry, _ in JournalReader(self.folder / JOURNAL_FILE) if entry.metrics]


def _deaf_no_more() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def fold(planned_root):
    def make(*, fold: int = 0, seed: int, environment: dict[str, str] | None = None, **changes) -> FoldProcess:
        # A seed of its own makes each test's candidate another one than its neighbours'.
        recipe = planned_root.training(seed=seed, **changes).training
        return FoldProcess(planned_root.root, planned_root.plan, recipe, fold, **(environment or {}))

    return make


def weights_of(process: FoldProcess):
    import torch

    return torch.load(process.folder / FINAL, weights_only=True)


def same_training(first, second) -> bool:
    """Whether two final checkpoints agree to the bit in weights, optimizer, losses and random numbers."""

    def flat(value, at=""):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from flat(item, f"{at}/{key}")
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                yield from flat(item, f"{at}/{index}")
        else:
            yield at, value

    timed = ("timestamps", "seconds", "waited", "resumes", "origin")
    pairs = [dict(flat(checkpoint)) for checkpoint in (first, second)]
    kept = [{at: value for at, value in pair.items() if not any(name in at for name in timed)} for pair in pairs]
    assert kept[0].keys() == kept[1].keys()
    differing = [at for at, value in kept[0].items() if not _equal(value, kept[1][at])]
    assert not differing, differing
    return True


def _equal(first, second) -> bool:
    import torch

    return torch.equal(first, second) if isinstance(first, torch.Tensor) else repr(first) == repr(second)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_iteration_saves_and_asks_to_be_run_again(fold, number):
    process = fold(seed=100 + number, epochs=500, checkpoint_minutes=10.0)
    running = process.start()
    process.wait_for(running, 3)
    running.send_signal(number)
    assert running.wait(timeout=60) == INTERRUPTED
    assert process.newest is not None
    assert digest_file(process.newest) == sealed_digest(process.newest)
    assert "after a checkpoint; run again to continue" in process.log.read_text()
    assert [entry.status for entry, _ in JournalReader(process.folder / JOURNAL_FILE) if entry.status][-1] == "KILLED"


@pytest.mark.parametrize(("most_kills", "epochs"), [(4, 12), pytest.param(30, 40, marks=pytest.mark.soak)])
def test_a_fold_killed_again_and_again_ends_as_one_that_nobody_touched(fold, most_kills, epochs):
    untouched = fold(seed=7, fold=0, epochs=epochs)
    code, _ = untouched.run()
    assert code == 0
    expected = weights_of(untouched)
    killed = fold(seed=7, fold=0, epochs=epochs)
    _forget(killed.folder)
    moment = random.Random(20)
    kills = 0
    while kills < most_kills:
        before = killed.newest
        running = killed.start()
        killed.wait_for(running, 1, text="epoch")
        time.sleep(moment.uniform(0, 0.4))
        running.kill()
        if running.wait() == 0:
            break
        kills += 1
        assert before is None or killed.told(f"continued from {before.name}"), "it begins at the newest checkpoint"
    assert kills
    code, output = killed.run()
    assert code == 0
    record = FoldCheckpoint.from_text(output.splitlines()[-1], where="output")
    assert (record.epochs, record.weights_sha256) == (epochs, digest_file(killed.folder / FINAL))
    assert sorted(set(killed.epochs_told)) == list(range(1, epochs + 1)), "no epoch was left out"
    assert len(killed.epochs_told) <= epochs + kills, "an epoch is trained again only where a kill took its checkpoint"
    assert same_training(expected, weights_of(killed))
    leftovers = [path.name for path in killed.folder.iterdir() if path.name.startswith((".partial", ".sending"))]
    assert leftovers == []


def _forget(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
