"""Batches that are a function of their number: the same ones after a restart, and from any number of workers."""

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from torch.utils.data import DataLoader, Dataset

_PREFETCHED = 2


class SeededBatches(Dataset[dict[str, Any]]):
    """nnU-Net's batches, each drawn with a seed of its own.

    nnU-Net's own workers draw from one stream of random numbers each and hand in whatever is ready, so that no two
    runs see the same batches. Here batch ``n`` is drawn from ``(*seed, n)`` alone.
    """

    def __init__(self, loader: nnUNetDataLoader, *, seed: tuple[int, ...]) -> None:
        self._loader, self._seed = loader, seed

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return batch ``number``: ``data`` of shape (batch, channel, z, y, x) and its ``target``."""
        with seeded(*self._seed, number):
            batch = self._loader.generate_train_batch()
        return {"data": batch["data"], "target": batch["target"]}

    def stream(self, *, start: int, end: int, workers: int, pin: bool) -> Iterator[dict[str, Any]]:
        """Yield batches ``start`` to ``end`` in order, made ahead of time by worker processes where there are any."""
        if not workers:
            return (self[number] for number in range(start, end))
        return iter(
            DataLoader(
                self,
                batch_size=None,
                sampler=range(start, end),
                num_workers=workers,
                prefetch_factor=_PREFETCHED,
                pin_memory=pin,
                worker_init_fn=_begin_worker,
            )
        )


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Seed everything that draws random numbers on the CPU, and leave it afterwards as it was found."""
    before = random_state()
    seed_all(*seed)
    try:
        yield
    finally:
        restore_random_state(before)


def seed_all(*seed: int) -> None:
    """Seed Python, numpy and torch, on every device, from a few whole numbers."""
    low, high = (int(word) for word in np.random.SeedSequence(seed).generate_state(2))
    random.seed(high)
    np.random.seed(low)
    torch.manual_seed(high << 32 | low)


def random_state() -> dict[str, Any]:
    """Return the state of all random numbers as plain data and tensors, so that a checkpoint may hold it."""
    name, words, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [str(name), torch.from_numpy(np.asarray(words).astype(np.int64)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if _uses_gpus() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Take up the random numbers where ``random_state`` left them."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, numbers, *rest = state["numpy"]
    np.random.set_state((name, numbers.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if _uses_gpus() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


def _uses_gpus() -> bool:
    # Asked of a process that has not touched a GPU yet, torch would start CUDA, which a forked worker cannot.
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _begin_worker(_: int) -> None:
    # A signal to the whole group is the trainer's to answer; it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
