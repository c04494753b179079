"""What all parts measure with: the recipe's plan in a folder, the card, its memory, and clocks."""

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from spine.nnunet.workspace import PLANS_NAME, Workspace
from spine.storage import read_json

THREADS = len(os.sched_getaffinity(0))
GB = 1e9


def timed_calls(owner: Any, name: str) -> list[float]:
    """Note the seconds of each call of a method."""
    noted: list[float] = []
    method: Callable[..., Any] = getattr(owner, name)

    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            return method(*arguments, **named)
        finally:
            noted.append(time.monotonic() - began)

    setattr(owner, name, timed)
    return noted


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def medians(taken: list[float], network: list[float]) -> dict[str, float]:
    """Return the medians of whole times and of the network's part of them."""
    besides = [one - other for one, other in zip(taken, network, strict=False)]
    return {
        "in_all_s": statistics.median(taken),
        "network_s": statistics.median(network[: len(taken)]),
        "besides_s": statistics.median(besides),
    }


def forget() -> None:
    """Give back what the measurement before has left on the GPU, and count the peak anew."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gb() -> float:
    """Return the most that torch has held on the GPU since."""
    import torch

    return torch.cuda.max_memory_reserved() / GB if torch.cuda.is_available() else 0.0


def device() -> Any:
    """Return the first GPU where there is one, else the CPU."""
    from spine.nnunet.segmentation import best_device

    return best_device()


def card() -> str:
    """Return what is measured on."""
    import torch

    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    return f"{name}, torch {torch.__version__}, {THREADS} cores"


def workspace(given: argparse.Namespace) -> Workspace:
    """Return the folders of the recipe's plan."""
    return Workspace.below(given.folder / given.recipe)


def plans(given: argparse.Namespace) -> dict[str, Any]:
    """Return nnU-Net's plans."""
    return dict(read_json(workspace(given).dataset / f"{PLANS_NAME}.json", expected="plans"))


def described(given: argparse.Namespace) -> dict[str, Any]:
    """Return nnU-Net's dataset.json."""
    return dict(read_json(workspace(given).dataset / "dataset.json", expected="dataset.json"))
