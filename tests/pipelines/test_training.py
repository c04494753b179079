"""How folds are dealt to tasks on one machine."""

import pytest

from pipelines.training import local_groups
from spine.settings import settings


@pytest.fixture
def devices(monkeypatch):
    """A function that names the devices to train on, or none."""

    def name(text):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.delenv("SPINELINE_DEVICES", raising=False)
        if text:
            monkeypatch.setenv("SPINELINE_DEVICES", text)
        settings.cache_clear()

    yield name
    settings.cache_clear()


def test_on_a_cpu_each_fold_is_a_task_of_its_own(devices):
    devices(None)
    assert local_groups([0, 2, 4]) == [[0], [2], [4]]


def test_devices_that_are_named_are_shared_out_by_one_task(devices):
    devices("cpu,cpu")
    assert local_groups([0, 2, 4]) == [[0, 2, 4]]
