"""How busy the machine is while a fold trains: CPU, memory and, where there is one, the GPU."""

import threading
from collections.abc import Callable

import psutil

_GB = 1e9
_SAMPLE_EVERY_S = 1.0

GpuReader = Callable[[], tuple[float, float]]
"""Returns how busy a GPU is in percent, and the bytes of its memory in use."""


class Utilisation:
    """Means since the last ``take``; psutil counts CPU time by thread, so it is to be used from one.

    ``gpu`` is a number as torch counts, None for the CPU: then no thread runs. What NVML won't tell (a MIG
    instance's utilisation) is left out.
    """

    def __init__(self, *, gpu: int | None = None, read_gpu: GpuReader | None = None) -> None:
        psutil.cpu_percent()
        self._process = psutil.Process()
        reader = read_gpu or (None if gpu is None else _nvml_reader(gpu))
        self._sampler = _Sampler(reader) if reader else None

    def take(self) -> dict[str, float]:
        """Return the values under the names that they are tracked by; GB are 10⁹ bytes."""
        values = {
            "system/cpu_percent": psutil.cpu_percent(),
            "system/memory_percent": psutil.virtual_memory().percent,
            "system/process_memory_gb": self._process.memory_info().rss / _GB,
        }
        means = self._sampler.take() if self._sampler else None
        if means:
            values |= {"system/gpu_utilisation_percent": means[0], "system/gpu_memory_gb": means[1] / _GB}
        return values

    def close(self) -> None:
        """Stop sampling."""
        if self._sampler:
            self._sampler.close()


def held_memory_bytes(gpu: int | None) -> int:
    """Return the most memory that torch has held on a GPU so far; without one, what this process holds."""
    if gpu is None:
        return int(psutil.Process().memory_info().rss)
    import torch

    return torch.cuda.max_memory_reserved(gpu)


class _Sampler:
    """A thread that reads a GPU once a second, for one that is asked once an epoch would be a single instant."""

    def __init__(self, read: GpuReader) -> None:
        self._read = read
        self._samples: list[tuple[float, float]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-utilisation", daemon=True)
        self._thread.start()

    def take(self) -> tuple[float, float] | None:
        with self._lock:
            samples, self._samples = self._samples, []
        if not samples:
            return None
        return sum(sample[0] for sample in samples) / len(samples), sum(sample[1] for sample in samples) / len(samples)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(_SAMPLE_EVERY_S):
            try:
                sample = self._read()
            except Exception:
                # NVML has a class for each refusal, and none of them is worth a training.
                return
            with self._lock:
                self._samples.append(sample)


def _nvml_reader(gpu: int) -> GpuReader:
    """Return a reader through torch, which finds NVML's number of the GPU that CUDA calls ``gpu`` here."""
    import torch

    return lambda: (float(torch.cuda.utilization(gpu)), float(torch.cuda.device_memory_used(gpu)))
