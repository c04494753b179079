"""Batches by number: the same ones whenever, and by whomever, they are made."""

import random

import numpy as np
import pytest
import torch

from spine.nnunet.batches import SeededBatches, random_state, restore_random_state, seed_all, seeded


class Loader:
    """Draws from every source of random numbers that augmentation draws from."""

    def generate_train_batch(self):
        drawn = torch.tensor([np.random.uniform(), random.random(), float(torch.rand(1))])
        return {"data": drawn, "target": [drawn * 2], "keys": ["a"]}


def drawn(stream):
    return [batch["data"].tolist() for batch in stream]


@pytest.fixture
def batches():
    return SeededBatches(Loader(), seed=(1, 2))


def test_a_batch_is_a_function_of_its_number(batches):
    assert batches[3]["data"].tolist() == batches[3]["data"].tolist()
    assert batches[3]["data"].tolist() != batches[4]["data"].tolist()


def test_another_seed_draws_other_batches(batches):
    assert batches[0]["data"].tolist() != SeededBatches(Loader(), seed=(1, 3))[0]["data"].tolist()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_make_the_same_batches_in_the_same_order(batches, workers):
    alone = drawn(batches.stream(start=2, end=9, workers=0, pin=False))
    assert drawn(batches.stream(start=2, end=9, workers=workers, pin=False)) == alone
    assert len(alone) == 7


def test_a_stream_that_starts_later_goes_on_with_the_same_batches(batches):
    whole = drawn(batches.stream(start=0, end=6, workers=0, pin=False))
    assert drawn(batches.stream(start=4, end=6, workers=0, pin=False)) == whole[4:]


def test_making_a_batch_leaves_the_random_numbers_of_training_alone(batches):
    seed_all(5)
    expected = float(torch.rand(1)), np.random.uniform(), random.random()
    seed_all(5)
    _ = batches[1]
    assert (float(torch.rand(1)), np.random.uniform(), random.random()) == expected


def test_a_state_survives_a_checkpoint(tmp_path):
    with seeded(8):
        np.random.normal()  # leaves a half of a pair behind, which the state has to keep
        state = random_state()
        expected = [np.random.normal(), random.random(), float(torch.rand(1))]
        torch.save(state, tmp_path / "state.pth")
        restore_random_state(torch.load(tmp_path / "state.pth", weights_only=True))
        assert [np.random.normal(), random.random(), float(torch.rand(1))] == expected


def test_a_worker_that_fails_is_told_not_waited_for():
    class Broken:
        def generate_train_batch(self):
            raise ValueError("case_0007 can't be read")

    with pytest.raises(ValueError, match="case_0007 can't be read"):
        list(SeededBatches(Broken(), seed=(1,)).stream(start=0, end=3, workers=2, pin=False))
