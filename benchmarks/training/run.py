"""What an epoch takes besides its batches and steps: our trainer with all that it tells, beside stock nnU-Net's."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.prepare_dataset.main import Choices, prepare_dataset
from spine.nnunet.workspace import PLANS_NAME, Workspace
from spine.phantom.raw_set import write_raw_set
from spine.recipe import Network, PlanRecipe, TrainingRecipe
from spine.settings import child_environment
from spine.storage import read_json

PLAN = PlanRecipe(
    planner="ExperimentPlanner",
    spacing_mm=(4.0, 4.0, 4.0),
    patch=(64, 64, 64),
    batch_size=2,
    # As deep and wide as nnU-Net plans for 128³: it is the weights that a checkpoint has to write.
    network=Network(features_per_stage=(32, 64, 128, 256, 320, 320)),
)


def main() -> None:
    """Plan, train with both in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trainer", choices=["stock", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="keep the data set and plan here (default: a temporary folder)")
    given = parser.parse_args()
    if given.trainer:
        print(json.dumps(train(given.trainer, given.folder, epochs=given.epochs, iterations=given.iterations)))
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="training-"))
    plan(folder)
    taken: dict[str, list[dict[str, float]]] = {"stock": [], "ours": []}
    for _ in range(given.repeats):
        for trainer, seen in taken.items():
            seen.append(in_its_own_process(trainer, folder, given))
            print(trainer, seen[-1], flush=True)
    print("medians")
    for trainer, seen in taken.items():
        print(trainer, {name: round(statistics.median(one[name] for one in seen), 3) for name in seen[0]})


def plan(folder: Path) -> None:
    """Make and preprocess a small phantom set, unless it is there."""
    workspace = Workspace.below(folder / "plan")
    if not (folder / "data").is_dir():
        write_raw_set(folder / "raw", scans=12, seed=3)
        prepare_dataset(raw=folder / "raw", output=folder / "data", choices=Choices(seed=1))
    workspace.activate()
    from spine.nnunet.planning import plan_and_preprocess

    plan_and_preprocess(dataset=folder / "data", workspace=workspace, recipe=PLAN, on_case=lambda *_: None)


def in_its_own_process(trainer: str, folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """Train in a fresh process and return what it measured."""
    command = [sys.executable, __file__, "--trainer", trainer, "--folder", str(folder)]
    command += ["--epochs", str(given.epochs), "--iterations", str(given.iterations)]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def train(trainer: str, folder: Path, *, epochs: int, iterations: int) -> dict[str, float]:
    """Train fold 0; return seconds an epoch, and how many of them were neither a batch nor a step."""
    results = folder / "results" / trainer
    workspace = Workspace.below(folder / "plan", results=results)
    workspace.activate(augmentation_workers=0)
    clock = Clock()
    built = (stock if trainer == "stock" else ours)(
        read_json(workspace.dataset / f"{PLANS_NAME}.json", expected="plans"),
        read_json(workspace.dataset / "dataset.json", expected="dataset.json"),
        epochs,
        iterations,
        clock,
    )
    began = time.monotonic()
    built.run_training()
    whole = time.monotonic() - began - clock.before
    # The final checkpoint is written by both, once in a training: it belongs to no epoch.
    epoch = (whole - clock.final) / epochs
    outside = epoch - clock.inside / epochs
    return {"epoch_s": epoch, "outside_s": outside, "outside_percent": 100 * outside / epoch, "final_s": clock.final}


class Clock:
    """Counts the seconds in batches and steps, and before the first epoch."""

    def __init__(self) -> None:
        self.inside = self.before = self.final = 0.0
        self._began = time.monotonic()

    def timed(self, work: Any) -> Any:
        """Return ``work``, counted."""

        def counted(*arguments: Any, **named: Any) -> Any:
            began = time.monotonic()
            try:
                return work(*arguments, **named)
            finally:
                self.inside += time.monotonic() - began

        return counted

    def batches(self, given: Iterator[Any]) -> Iterator[Any]:
        """Yield batches, counted."""
        while True:
            yield self.timed(next)(given)


def timed_trainer(kind: Any, clock: Clock) -> Any:
    """Return a trainer whose batches, steps and start are counted."""

    class Timed(kind):  # type: ignore[misc]
        def on_train_start(self) -> None:
            began = time.monotonic()
            super().on_train_start()
            self.train_step = clock.timed(self.train_step)
            self.validation_step = clock.timed(self.validation_step)
            clock.before = time.monotonic() - began

    Timed.__name__ = kind.__name__
    return Timed


def stock(plans: Any, described: Any, epochs: int, iterations: int, clock: Clock) -> Any:
    """Build nnU-Net's own trainer; it saves its best checkpoint whenever pseudo-Dice rises, and its picture."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class Stock(timed_trainer(nnUNetTrainer, clock)):  # type: ignore[misc]
        def get_dataloaders(self) -> Any:
            return tuple(clock.batches(loader) for loader in super().get_dataloaders())

        def on_train_end(self) -> None:
            began = time.monotonic()
            super().on_train_end()
            clock.final = time.monotonic() - began

    trainer = Stock({**plans, "continue_training": False}, "3d_fullres", 0, described, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = epochs, iterations, 2
    return trainer


def ours(plans: Any, described: Any, epochs: int, iterations: int, clock: Clock) -> Any:
    """Build our trainer with all that it tells: progress, journal, Prometheus, utilisation."""
    import torch

    from components.train_folds.watch import FoldWatch
    from spine.nnunet import trainer as room

    class Ours(timed_trainer(room.SpineTrainer, clock)):  # type: ignore[misc]
        def _streams(self) -> Any:
            return tuple(clock.batches(stream) for stream in super()._streams())

        def _save(self, name: str) -> None:
            began = time.monotonic()
            super()._save(name)
            clock.final = time.monotonic() - began

    recipe = TrainingRecipe(
        folds=(0,),
        epochs=epochs,
        iterations_per_epoch=iterations,
        validation_iterations_per_epoch=2,
        augmentation_workers=0,
        checkpoint_minutes=1000,  # what one takes is measured at the end
    )
    trainer = Ours({**plans, "continue_training": False}, "3d_fullres", 0, described, torch.device("cpu"))
    trainer.adopt(recipe, hooks=room.Hooks(stop=threading.Event()), origin={})
    watch = FoldWatch(Path(trainer.output_folder), candidate="benchmark", trainer=trainer)
    trainer.hooks = room.Hooks(
        stop=threading.Event(), on_epoch=watch.epoch_ended, on_checkpoint=lambda _: watch.checkpoint_saved()
    )
    return trainer


if __name__ == "__main__":
    main()
