"""The devices that folds train on: which are asked for, which are there, and how folds share them."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spine.errors import InvalidValueError, SpinelineError
from spine.settings import child_environment

_COUNT_TIMEOUT_S = 120


class DeviceCountError(SpinelineError):
    """The GPUs of this machine could not be counted."""


@dataclass(frozen=True)
class Device:
    """A GPU, by its place among those that this process can see, or a CPU worker standing in for one."""

    kind: Literal["cuda", "cpu"]
    index: int

    def __str__(self) -> str:
        return f"{self.kind} {self.index}"


Share = tuple[Device, ...]
"""The devices that one fold trains on: data parallel where there are several."""


def find_devices(asked: str | None) -> tuple[Device, ...]:
    """Return the devices that are asked for; GPUs are counted only where that matters."""
    is_all_cpu = asked is not None and _names(asked) and set(_names(asked)) == {"cpu"}
    return parse_devices(asked, gpus=0 if is_all_cpu else count_gpus())


def parse_devices(asked: str | None, *, gpus: int) -> tuple[Device, ...]:
    """Return the devices of a list such as ``0,1`` or ``cpu,cpu``; without one all ``gpus`` GPUs, else one CPU.

    Raises InvalidValueError for a GPU that is not there or comes twice, for GPUs mixed with CPUs, and for nonsense.
    """
    if asked is None:
        return tuple(Device("cuda", index) for index in range(gpus)) or (Device("cpu", 0),)
    names = _names(asked)
    if set(names) == {"cpu"}:
        return tuple(Device("cpu", index) for index in range(len(names)))
    indices = [int(name) for name in names if name.isascii() and name.isdigit()]
    is_sound = 0 < len(set(indices)) == len(names) and max(indices) < gpus
    if not is_sound:
        there = f"GPU numbers of 0-{gpus - 1}, each once" if gpus > 1 else "0" if gpus else "no GPU, for none is there"
        raise InvalidValueError("SPINELINE_DEVICES", asked, expected=f"{there}, or a list such as cpu,cpu")
    return tuple(Device("cuda", index) for index in indices)


def assign(*, folds: int, devices: Sequence[Device], batch_size: int) -> list[Share]:
    """Return the shares that ``folds`` folds train on side by side; more folds than shares queue for the next free.

    Where there are more devices than folds, a fold gets several, as even as possible, but never more than a batch has
    samples: nnU-Net's data parallelism needs one for each device. Raises InvalidValueError for no devices or an empty
    batch.
    """
    if not devices or batch_size < 1:
        given = f"{len(devices)} devices, batch of {batch_size}"
        raise InvalidValueError("what folds train with", given, expected="a device and a sample or more")
    count = min(folds, len(devices))
    if count == 0:
        return []
    each, left = divmod(len(devices), count)
    sizes = [min(each + (position < left), batch_size) for position in range(count)]
    starts = [sum(sizes[:position]) for position in range(count)]
    return [tuple(devices[start : start + size]) for start, size in zip(starts, sizes, strict=True)]


def visible_to(share: Share, *, inherited: str | None) -> str:
    """Return the CUDA_VISIBLE_DEVICES that shows a process no device but ``share``.

    ``inherited`` is this process's own value: its entries (numbers, UUIDs, MIG instances) are what GPUs are counted
    by here, so an entry is handed on as it stands.
    """
    gpus = [device.index for device in share if device.kind == "cuda"]
    entries = [entry.strip() for entry in inherited.split(",")] if inherited else None
    return ",".join(entries[index] if entries else str(index) for index in gpus)


def count_gpus() -> int:
    """Return how many GPUs torch can use here, asked in a process of its own: importing torch takes seconds.

    NVML would be quicker but counts what is in the machine; which of it CUDA hides from this process is torch's to
    say. Raises DeviceCountError where torch can't be asked.
    """
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_COUNT_TIMEOUT_S, env=child_environment()
        )
        return int(answer.stdout.split()[-1])
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"status {error.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_COUNT_TIMEOUT_S} s"
    raise DeviceCountError(f"GPUs can't be counted: {reason}; expected a torch that can be imported")


def _names(asked: str) -> list[str]:
    return [name.strip().lower() for name in asked.split(",")]
