"""The sliding window for several scans: nnU-Net's logits, shared batches, and nobody held up by another's scan."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from spine.nnunet.scan_windows import NetworkOutputError
from spine.nnunet.windows import Windows

PATIENCE_S = 60
MARK = 77.0
"""Voxels of a scan whose windows the network can't bear."""


class Recording(nnUNetPredictor):
    """Notes which scan each window was of, by its corner, and fails where it is told to."""

    error: Exception | None = None
    most = 99

    def _internal_maybe_mirror_and_predict(self, x):
        self.seen.append([round(float(window.flatten()[0])) for window in x])
        if len(x) > self.most:
            raise torch.OutOfMemoryError(f"{len(x)} windows")
        if self.error is not None and (x == MARK).any():
            raise self.error
        return super()._internal_maybe_mirror_and_predict(x)


@pytest.fixture
def predictors(bundles):
    """A function that returns predictors with random weights, one a seed."""
    given = {name: json.loads((bundles[1] / "model" / f"{name}.json").read_text()) for name in ("plans", "dataset")}

    def make(*seeds, mirroring=False, flat=False):
        configuration = given["plans"]["configurations"]["3d_fullres"]
        plans = PlansManager(
            {**given["plans"], "configurations": {"any": _flat(configuration) if flat else configuration}}
        )
        return [_predictor(plans, given["dataset"], seed=seed, mirroring=mirroring, flat=flat) for seed in seeds]

    return make


def _flat(configuration):
    text = json.dumps(configuration).replace("Conv3d", "Conv2d").replace("InstanceNorm3d", "InstanceNorm2d")
    flat = json.loads(text)
    keywords = flat["architecture"]["arch_kwargs"]
    keywords["kernel_sizes"] = [size[1:] for size in keywords["kernel_sizes"]]
    keywords["strides"] = [stride[1:] for stride in keywords["strides"]]
    return {**flat, "patch_size": configuration["patch_size"][1:], "spacing": configuration["spacing"][1:]}


def _predictor(plans, dataset_json, *, seed, mirroring, flat):
    configuration = plans.get_configuration("any")
    torch.manual_seed(seed)
    network = nnUNetTrainer.build_network_architecture(plans, configuration, 1, 26, enable_deep_supervision=False)
    made = Recording(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    made.seen = []
    weights = [network.state_dict()]
    made.manual_initialization(
        network.eval(), plans, configuration, weights, dataset_json, "any", (1,) if flat else (0, 2)
    )
    return made


def scan(*shape, corner=0.0, seed=0):
    data = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32))
    data[:] = corner if corner else data
    return data


def in_threads(windows, scans, **given):
    """Run scans at once; return the logits, or the error, of each."""
    with ThreadPoolExecutor(len(scans)) as pool:
        futures = [pool.submit(windows.logits, data, **given) for data in scans]
        return [future.exception(PATIENCE_S) or future.result() for future in futures]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("mirroring", [False, True])
@pytest.mark.parametrize("shape", [(30, 21, 40), (9, 16, 20)])
@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_logits_are_those_of_nnunet(predictors, seeds, flat, mirroring, shape):
    made = predictors(*seeds, mirroring=mirroring, flat=flat)
    ours = Windows(made, batch=1).logits(scan(*shape))
    stock = made[0]
    stock.list_of_parameters = [weights for predictor in made for weights in predictor.list_of_parameters]
    theirs = stock.predict_logits_from_preprocessed_data(scan(*shape))
    assert ours.shape == theirs.shape == (26, *shape)
    assert ours.dtype == theirs.dtype == torch.half
    if len(seeds) == 1:
        assert torch.equal(ours, theirs)
    assert _agree(ours, theirs)


def _agree(ours, theirs):
    """Say whether logits are the same but for fp16's rounding: three digits, and fewer in the corners of a scan."""
    difference, largest = (ours.float() - theirs.float()).abs(), theirs.float().abs().max()
    is_near = difference.quantile(0.99) < 0.002 * largest and difference.max() < 0.2 * largest
    return bool(is_near and (ours.argmax(0) == theirs.argmax(0)).float().mean() > 0.99)


@pytest.mark.parametrize("batch", [1, 3])
def test_scans_at_once_are_answered_as_each_alone(predictors, batch):
    made = predictors(1)
    scans = [scan(30, 20, 16 + 8 * number, seed=number) for number in range(4)]
    alone = [Windows(made, batch=1).logits(data) for data in scans]
    together = in_threads(Windows(made, batch=batch), scans)
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other) if batch == 1 else _agree(one, other)


def test_windows_of_several_scans_share_a_batch(predictors):
    (predictor,) = predictors(1)
    windows = Windows([predictor], batch=2)
    _while_another_waits(windows, long=scan(64, 16, 16, corner=1.0), short=scan(32, 16, 16, corner=2.0))
    assert [1, 2] in [sorted(batch) for batch in predictor.seen]


def test_a_short_scan_does_not_wait_for_a_long_one(predictors):
    (predictor,) = predictors(1)
    windows = Windows([predictor], batch=1)
    _while_another_waits(windows, long=scan(160, 16, 16, corner=1.0), short=scan(16, 16, 16, corner=2.0))
    assert [2] in predictor.seen[:4]
    assert len(predictor.seen) == 20


def _while_another_waits(windows, *, long, short):
    """Submit a short scan as soon as the first batch of a long one has run."""
    waits = threading.Event()

    def on_long(done, _total):
        if done and follower.ident is None:
            follower.start()
            assert waits.wait(PATIENCE_S)

    follower = threading.Thread(target=windows.logits, args=(short,), kwargs={"on_progress": lambda *_: waits.set()})
    windows.logits(long, on_progress=on_long)
    follower.join(PATIENCE_S)
    assert not follower.is_alive()


def test_progress_is_told_from_none_to_all_in_the_callers_own_thread(predictors):
    told = {}

    def tell(done, total):
        told.setdefault(threading.get_ident(), []).append((done, total))

    in_threads(Windows(predictors(1), batch=2), [scan(40, 16, 16), scan(64, 16, 16)], on_progress=tell)
    assert len(told) == 2
    for steps in told.values():
        assert steps == sorted(set(steps))
        assert steps[0][0] == 0
        assert steps[-1][0] == steps[-1][1]
    assert {steps[-1][1] for steps in told.values()} == {4, 7}


def test_a_window_that_fails_is_told_to_its_caller_only(predictors):
    (predictor,) = predictors(1)
    predictor.error = RuntimeError("the network can't bear it")
    scans = [scan(40, 16, 16), scan(40, 16, 16, corner=MARK), scan(64, 16, 16, seed=3)]
    first, marked, last = in_threads(Windows([predictor], batch=3), scans)
    assert "can't bear it" in str(marked)
    assert _agree(first, Windows([predictor], batch=1).logits(scans[0]))
    assert last.shape == (26, 64, 16, 16)


def test_a_caller_that_gives_up_holds_nobody_up(predictors):
    class GivenUpError(Exception):
        pass

    def give_up(done, _total):
        if done:
            raise GivenUpError

    windows = Windows(predictors(1), batch=2)
    with ThreadPoolExecutor(2) as pool:
        given_up = pool.submit(windows.logits, scan(64, 16, 16), on_progress=give_up)
        kept = pool.submit(windows.logits, scan(64, 16, 16))
        assert kept.result(PATIENCE_S).shape == (26, 64, 16, 16)
        assert isinstance(given_up.exception(PATIENCE_S), GivenUpError)


def test_windows_that_do_not_fit_together_are_run_one_by_one(predictors):
    (predictor,) = predictors(1)
    predictor.most = 1
    windows = Windows([predictor], batch=4)
    assert windows.logits(scan(64, 16, 16)).shape == (26, 64, 16, 16)
    assert [len(batch) for batch in predictor.seen] == [4, 1, 1, 1, 1, 1, 1, 1]


def test_what_is_no_number_is_refused(predictors):
    (predictor,) = predictors(1)
    with torch.no_grad():
        next(iter(predictor.network.parameters())).fill_(float("nan"))
    with pytest.raises(NetworkOutputError, match="finite"):
        Windows([predictor], batch=1).logits(scan(16, 16, 16))


def test_a_turn_is_taken_around_each_batch_and_given_back(predictors):
    (predictor,) = predictors(1)
    turn, taken = threading.Lock(), []

    @contextlib.contextmanager
    def take():
        with turn:
            taken.append(len(predictor.seen))
            yield

    class Turn:
        def __enter__(self):
            self._held = take()
            return self._held.__enter__()

        def __exit__(self, *error):
            return self._held.__exit__(*error)

    Windows([predictor], batch=2, turn=Turn()).logits(
        scan(64, 16, 16), on_progress=lambda *_: _require(not turn.locked())
    )
    assert taken == [0, 1, 2, 3]


def _require(holds):
    assert holds
