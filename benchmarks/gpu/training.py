"""Training steps a second, of a fold that our trainer trains for a few short epochs."""

import argparse
import threading
import time
from typing import Any

import numpy as np
from model import card, described, device, peak_gb, plans, workspace

from spine.recipe import load_recipe


def train(given: argparse.Namespace, *, compile_network: bool = False) -> dict[str, Any]:
    """Train fold 0 for a few epochs; return the median of its later steps, and keep the weights."""
    workspace(given).activate(augmentation_workers=0)
    import torch

    from spine.nnunet.trainer import Hooks, build_trainer

    changes = {
        "epochs": given.epochs,
        "iterations_per_epoch": given.iterations,
        "validation_iterations_per_epoch": 2,
        "augmentation_workers": given.workers,
        "compile": compile_network,
        "checkpoint_minutes": 1000.0,
        # Within a hundred steps it finds some bone, so that there is something to predict.
        "optimizer": "adamw",
        "initial_learning_rate": 0.0005,
        "foreground_oversampling": 1.0,
    }
    reports: list[Any] = []
    trainer = build_trainer(
        plans=plans(given),
        dataset_json=described(given),
        configuration="3d_fullres",
        fold=0,
        recipe=load_recipe(given.recipe).training.model_copy(update=changes),
        plan="benchmark",
        device=device(),
        hooks=Hooks(stop=threading.Event(), on_epoch=reports.append),
    )
    ends = _timed_steps(trainer)
    began = time.monotonic()
    trainer.run_training()
    torch.save(trainer.bare_network().state_dict(), given.folder / f"{given.recipe}.pth")
    later = np.diff(ends)[given.iterations * (given.epochs // 2) :]
    return {
        "card": card(),
        "steps": {
            "median_s": float(np.median(later)),
            "steps_a_second": 1 / float(np.median(later)),
            "patches_a_second": trainer.configuration_manager.batch_size / float(np.median(later)),
            "first_step_s": ends[0] - began,
            "waiting_s_of_last_epoch": reports[-1].waiting_seconds,
            "last_epoch_s": reports[-1].seconds,
            "overflows": sum(report.gradient_overflows for report in reports),
        },
        "losses": [round(report.train_loss, 3) for report in reports],
        "peak GPU memory, GB": peak_gb(),
        "weights": sum(parameter.numel() for parameter in trainer.bare_network().parameters()),
    }


def _timed_steps(trainer: Any) -> list[float]:
    """Note when each step of a trainer ends; a step waits for its loss, and so for the GPU."""
    ends: list[float] = []
    step = trainer.train_step

    def timed(batch: Any) -> Any:
        result = step(batch)
        ends.append(time.monotonic())
        return result

    trainer.train_step = timed
    return ends
