"""How busy the machine is said to be, with and without a GPU."""

import itertools
import threading
import time

import pytest

from components.train_folds import utilisation
from components.train_folds.utilisation import Utilisation, held_memory_bytes

WITHOUT_GPU = {"system/cpu_percent", "system/memory_percent", "system/process_memory_gb"}


@pytest.fixture(autouse=True)
def quick_samples(monkeypatch):
    monkeypatch.setattr(utilisation, "_SAMPLE_EVERY_S", 0.005)


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_machine_without_a_gpu_costs_no_thread():
    before = threading.active_count()
    busy = Utilisation()
    assert threading.active_count() == before
    busy_until = time.process_time() + 0.15
    while time.process_time() < busy_until:
        pass
    values = busy.take()
    assert values.keys() == WITHOUT_GPU
    assert 0 < values["system/cpu_percent"] <= 100
    assert 0 < values["system/memory_percent"] < 100
    assert values["system/process_memory_gb"] == pytest.approx(held_memory_bytes(None) / 1e9, rel=0.2)


def test_a_gpu_is_averaged_since_the_last_look():
    readings = itertools.chain([(0.0, 2e9), (100.0, 4e9)], itertools.repeat((30.0, 6e9)))
    taken = []
    ready = threading.Event()

    def read():
        taken.append(next(readings))
        if len(taken) == 3:
            ready.wait(10)
        return taken[-1]

    busy = Utilisation(read_gpu=read)
    wait_for(lambda: len(taken) == 3)
    first = busy.take()
    assert (first["system/gpu_utilisation_percent"], first["system/gpu_memory_gb"]) == (50.0, 3.0)
    ready.set()
    wait_for(lambda: len(taken) > 4)
    second = busy.take()
    assert (second["system/gpu_utilisation_percent"], second["system/gpu_memory_gb"]) == (30.0, 6.0)
    busy.close()
    assert not any(thread.name == "gpu-utilisation" for thread in threading.enumerate())


def test_a_gpu_that_tells_nothing_is_left_out():
    asked = []

    def refuse():
        asked.append(1)
        raise RuntimeError("Not Supported")

    busy = Utilisation(read_gpu=refuse)
    wait_for(lambda: asked)
    assert busy.take().keys() == WITHOUT_GPU
    busy.close()


def test_a_gpu_that_is_not_there_is_left_out(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    busy = Utilisation(gpu=0)
    wait_for(lambda: not any(thread.name == "gpu-utilisation" for thread in threading.enumerate()))
    assert busy.take().keys() == WITHOUT_GPU
