"""The processes of one fold's training, where it has several: nnU-Net's data parallelism on one machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from spine.settings import rank_among_peers

Chosen = TypeVar("Chosen")


@dataclass(frozen=True)
class Rank:
    """This process's place among those of its fold, and the device that it trains on."""

    number: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.number == 0

    def shared(self, make: Callable[[], Chosen]) -> Chosen:
        """Return on every rank what ``make`` returns on the first; it is called on no other."""
        if not dist.is_initialized():
            return make()
        values: list[Any] = [make() if self.is_first else None]
        dist.broadcast_object_list(values, src=0, device=self.device)
        made: Chosen = values[0]
        return made


@contextmanager
def joined() -> Iterator[Rank]:
    """Join the processes that torch's own variables (``WORLD_SIZE``, ``RANK``) tell of, for the block.

    A process alone trains on the first GPU that it can see, else on the CPU.
    """
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    local, count = rank_among_peers()
    if count == 1:
        yield Rank(0, torch.device(kind, 0) if kind == "cuda" else torch.device(kind))
        return
    device = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Rank(dist.get_rank(), device)
    finally:
        dist.destroy_process_group()
