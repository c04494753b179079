"""Which devices are taken for what is asked, and how folds share them."""

import pytest

from components.train_folds.devices import Device, DeviceCountError, assign, count_gpus, find_devices, parse_devices
from components.train_folds.devices import visible_to as visible
from spine.errors import InvalidValueError


def gpus(*indices):
    return tuple(Device("cuda", index) for index in indices)


def cpus(count):
    return tuple(Device("cpu", index) for index in range(count))


@pytest.mark.parametrize(
    ("asked", "there", "found"),
    [
        (None, 3, gpus(0, 1, 2)),
        (None, 0, cpus(1)),
        ("0", 1, gpus(0)),
        ("0,1", 4, gpus(0, 1)),
        (" 3, 1 ", 4, gpus(3, 1)),
        ("cpu", 4, cpus(1)),
        ("cpu,CPU,cpu", 0, cpus(3)),
    ],
)
def test_devices_are_those_asked_for_or_all_that_are_there(asked, there, found):
    assert parse_devices(asked, gpus=there) == found


@pytest.mark.parametrize("asked", ["", " ", ",", "0,", "4", "0,4", "0,0", "0,00", "-1", "cpu,0", "cuda:0", "0.5", "²"])
def test_anything_else_is_refused_with_the_value_and_what_is_there(asked):
    with pytest.raises(InvalidValueError) as refused:
        parse_devices(asked, gpus=4)
    assert (
        str(refused.value)
        == f"SPINELINE_DEVICES is {asked!r}; expected GPU numbers of 0-3, each once, or a list such as cpu,cpu"
    )


def test_a_gpu_is_refused_where_none_is_there():
    with pytest.raises(InvalidValueError, match="SPINELINE_DEVICES is '0'; expected no GPU, for none is there"):
        parse_devices("0", gpus=0)


def test_cpus_are_found_without_counting_gpus(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert find_devices("cpu,cpu") == cpus(2)
    with pytest.raises(FileNotFoundError):
        find_devices(None)


def test_gpus_that_are_hidden_are_not_counted(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert count_gpus() == 0


def test_gpus_that_cannot_be_counted_are_told_in_one_line(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(DeviceCountError, match="counted: ImportError: libcudart is missing; expected a torch"):
        count_gpus()


@pytest.mark.parametrize(
    ("folds", "devices", "batch_size", "sizes"),
    [
        (1, 1, 2, [1]),
        (5, 1, 2, [1]),
        (5, 3, 2, [1, 1, 1]),
        (5, 5, 2, [1, 1, 1, 1, 1]),
        (5, 8, 2, [2, 2, 2, 1, 1]),
        (2, 8, 2, [2, 2]),
        (1, 8, 5, [5]),
        (3, 8, 4, [3, 3, 2]),
        (2, 8, 1, [1, 1]),
        (0, 2, 2, []),
    ],
)
def test_devices_are_shared_out_evenly_and_none_twice(folds, devices, batch_size, sizes):
    shares = assign(folds=folds, devices=gpus(*range(devices)), batch_size=batch_size)
    assert [len(share) for share in shares] == sizes
    taken = [device for share in shares for device in share]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize(("devices", "batch_size"), [((), 2), (gpus(0), 0)])
def test_no_device_and_no_sample_are_refused(devices, batch_size):
    with pytest.raises(InvalidValueError, match="expected a device and a sample or more"):
        assign(folds=1, devices=devices, batch_size=batch_size)


@pytest.mark.parametrize(
    ("share", "inherited", "shown"),
    [
        (gpus(1), None, "1"),
        (gpus(0, 2), None, "0,2"),
        (gpus(0, 2), "4,5,6", "4,6"),
        (gpus(1), "GPU-aa, MIG-bb", "MIG-bb"),
        (cpus(2), "4,5", ""),
        (cpus(1), None, ""),
    ],
)
def test_a_process_sees_its_devices_and_no_other(share, inherited, shown):
    assert visible(share, inherited=inherited) == shown
