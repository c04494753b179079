"""What is said of GPUs, on a GPU: nnU-Net's logits, the CPU's masks, too little memory, trainings that continue."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from spine.nnunet import checkpoint_files, checkpoints
from spine.nnunet.continuation import resume
from spine.nnunet.epochs import TrainingDivergedError
from spine.nnunet.sanity import OutOfDeviceMemoryError, forecast
from spine.nnunet.segmentation import Segmenter
from spine.nnunet.trainer import TrainingStoppedError
from spine.nnunet.windows import Windows
from spine.phantom import make_scan
from spine.recipe import PredictionRecipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

PATIENCE_S = 120
MIB = 1 << 20


class Recording(nnUNetPredictor):
    """Notes how many windows each batch has, whether or not there is room for it."""

    def _internal_maybe_mirror_and_predict(self, x):
        self.seen.append(len(x))
        return super()._internal_maybe_mirror_and_predict(x)


@pytest.fixture
def predictors(bundles):
    """A function that returns predictors on the GPU with random weights, one a seed."""
    given = {name: json.loads((bundles[1] / "model" / f"{name}.json").read_text()) for name in ("plans", "dataset")}

    def make(*seeds, mirroring=False, patch=16):
        given["plans"]["configurations"]["3d_fullres"]["patch_size"] = [patch] * 3
        plans = PlansManager(given["plans"])
        return [_predictor(plans, given["dataset"], seed=seed, mirroring=mirroring) for seed in seeds]

    return make


def _predictor(plans, dataset_json, *, seed, mirroring):
    configuration = plans.get_configuration("3d_fullres")
    torch.manual_seed(seed)
    network = nnUNetTrainer.build_network_architecture(plans, configuration, 1, 26, enable_deep_supervision=False)
    made = Recording(use_mirroring=mirroring, device=torch.device("cuda", 0), allow_tqdm=False)
    made.seen = []
    weights = [network.state_dict()]
    network = network.to("cuda").eval()
    made.manual_initialization(network, plans, configuration, weights, dataset_json, "any", (0, 2))
    return made


def scan(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32))


def assert_agree(ours, theirs):
    """Require logits that are the same but for fp16's rounding: three digits, and fewer in the corners of a scan."""
    assert ours.shape == theirs.shape
    assert ours.device == theirs.device == torch.device("cpu")
    difference, largest = (ours.float() - theirs.float()).abs(), float(theirs.float().abs().max())
    assert np.quantile(difference.numpy(), 0.99) < 0.002 * largest
    assert difference.max() < 0.2 * largest
    assert (ours.argmax(0) == theirs.argmax(0)).float().mean() > 0.99


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("mirroring", [False, True])
@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
@pytest.mark.parametrize("shape", [(30, 21, 40), (9, 16, 20)])
def test_logits_are_those_of_nnunet_on_the_same_gpu(predictors, shape, seeds, mirroring, batch):
    made = predictors(*seeds, mirroring=mirroring)
    ours = Windows(made, batch=batch).logits(scan(*shape))
    stock = made[0]
    stock.list_of_parameters = [weights for predictor in made for weights in predictor.list_of_parameters]
    assert_agree(ours, stock.predict_logits_from_preprocessed_data(scan(*shape)))


@pytest.mark.parametrize("batch", [1, 4])
def test_scans_at_once_are_answered_as_each_alone(predictors, batch):
    made = predictors(1, 2)
    scans = [scan(30, 20, 16 + 8 * number, seed=number) for number in range(4)]
    alone = [Windows(made, batch=1).logits(data) for data in scans]
    with ThreadPoolExecutor(len(scans)) as pool:
        together = list(pool.map(Windows(made, batch=batch).logits, scans, timeout=PATIENCE_S))
    for one, other in zip(together, alone, strict=True):
        assert_agree(one, other)


@pytest.fixture
def leave():
    """A function that leaves torch so many bytes of the GPU beyond what is held."""

    def limit(free_bytes):
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + free_bytes) / total)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_sums_that_do_not_fit_are_made_on_the_cpu(predictors, leave):
    made, data = predictors(1, patch=32), scan(128, 128, 128)
    expected = Windows(made, batch=4).logits(data)
    free = 80 * MIB
    assert expected.nbytes > free
    leave(free)
    assert_agree(Windows(made, batch=4).logits(data), expected)


def test_sums_that_leave_a_batch_no_room_are_moved_to_the_cpu(predictors, leave):
    (predictor,) = predictors(1, patch=64)
    data = scan(64, 64, 1280)
    expected = Windows([predictor], batch=4).logits(data)
    predictor.seen.clear()
    leave(400 * MIB)
    assert_agree(Windows([predictor], batch=4).logits(data), expected)
    assert predictor.seen[:2] == [4, 4], "the first batch is run again"
    assert 1 not in predictor.seen
    assert len(predictor.seen) == 1 + 10


def test_windows_that_do_not_fit_together_are_run_one_by_one(predictors, leave):
    (predictor,) = predictors(1, patch=64)
    data = scan(64, 64, 160)
    expected = Windows([predictor], batch=4).logits(data)
    predictor.seen.clear()
    leave(130 * MIB)
    assert_agree(Windows([predictor], batch=4).logits(data), expected)
    assert predictor.seen == [4, 4, 1, 1, 1, 1]


@pytest.fixture
def recipe(tiny_training):
    """Saved only when stopped; not compiled, which takes a minute."""
    return tiny_training.model_copy(update={"checkpoint_minutes": 60.0, "iterations_per_epoch": 3, "compile": False})


def folder(trainer):
    return Path(trainer.output_folder)


def final(trainer):
    trainer.run_training()
    path = folder(trainer) / checkpoint_files.FINAL
    return checkpoints.load(path, digest=checkpoint_files.sealed_digest(path))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_fold_trains_and_leaves_a_sealed_checkpoint(build, recipe, precision):
    reports = []
    trainer = build(device="cuda", recipe=recipe.model_copy(update={"precision": precision}), on_epoch=reports.append)
    loaded = final(trainer)
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert all(np.isfinite([report.train_loss, report.validation_loss]).all() for report in reports)
    assert all(weight.isfinite().all() for weight in loaded["network_weights"].values())
    assert next(trainer.network.parameters()).is_cuda
    assert (loaded["grad_scaler_state"] is not None) == (precision == "fp16")


@pytest.mark.slow
def test_a_compiled_network_trains_and_its_weights_are_saved_under_their_own_names(build, recipe):
    trainer = build(device="cuda", recipe=recipe.model_copy(update={"compile": True}))
    loaded = final(trainer)
    assert hasattr(trainer.network, "_orig_mod")
    assert not any("_orig_mod" in name for name in loaded["network_weights"])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("steps", [3, 4])
def test_continued_it_goes_on_as_one_that_was_not_stopped(build, recipe, tmp_path, steps, precision):
    recipe = recipe.model_copy(update={"precision": precision})
    path, digest = _stopped_after(build, steps, recipe=recipe, results=tmp_path / "stopped")
    whole, continued = [], []
    build(device="cuda", recipe=recipe, results=tmp_path / "whole", on_epoch=whole.append).run_training()
    trainer = build(device="cuda", recipe=recipe, results=tmp_path / "stopped", on_epoch=continued.append)
    resume(trainer, checkpoints.load(path, digest=digest), path=path)
    assert trainer.steps_done == steps
    trainer.run_training()
    expected = {report.epoch: report.train_loss for report in whole}
    assert [report.epoch for report in continued] == list(range(1 + steps // 4, 4))
    for report in continued:
        assert report.train_loss == pytest.approx(expected[report.epoch], rel=0.005)
    assert abs(expected[2] - expected[1]) > 0.01 * abs(expected[1]), "an epoch makes a difference that would be seen"


def _stopped_after(build, steps, **given):
    """Train until a number of iterations is done; return the newest checkpoint."""
    stop = threading.Event()
    trainer = build(device="cuda", stop=stop, **given)
    step, seen = trainer.train_step, []

    def counted(batch):
        seen.append(1)
        if len(seen) == steps:
            stop.set()
        return step(batch)

    trainer.train_step = counted
    with pytest.raises(TrainingStoppedError):
        trainer.run_training()
    return checkpoint_files.newest_verified(folder(trainer), on_rejected=pytest.fail)


def test_what_was_trained_on_a_gpu_goes_on_on_a_cpu(build, recipe):
    path, digest = _stopped_after(build, 4, recipe=recipe)
    trainer = build(recipe=recipe)
    resume(trainer, checkpoints.load(path, digest=digest), path=path)
    assert final(trainer)["current_epoch"] == recipe.epochs


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_loss_that_is_no_number_stops_the_fold_and_no_checkpoint_of_it_is_left(build, recipe, precision):
    changes = {"optimizer": "sgd", "initial_learning_rate": 1e30, "checkpoint_minutes": 0.0001, "precision": precision}
    trainer = build(device="cuda", recipe=recipe.model_copy(update=changes))
    with pytest.raises(TrainingDivergedError, match="expected a number"):
        trainer.run_training()
    for path in checkpoint_files.held(folder(trainer)):
        loaded = checkpoints.load(path, digest=checkpoint_files.sealed_digest(path))
        assert all(np.isfinite(loaded["spineline"]["losses"])), path.name


def test_a_batch_that_does_not_fit_is_told_before_the_first_step(build, recipe, leave):
    trainer = build(device="cuda", recipe=recipe)

    def start():
        leave(0)
        forecast(trainer)

    trainer.hooks = replace(trainer.hooks, on_start=start)
    with pytest.raises(OutOfDeviceMemoryError, match="does not fit on cuda:0"):
        trainer.run_training()


@pytest.mark.slow
def test_a_trained_network_gives_the_mask_that_it_gives_on_a_cpu(build, recipe):
    longer = recipe.model_copy(
        update={"epochs": 10, "iterations_per_epoch": 60, "initial_learning_rate": 0.01, "foreground_oversampling": 1.0}
    )
    trainer = build(device="cuda", recipe=longer)
    weights = final(trainer)["network_weights"]
    image = make_scan(seed=5, patient=1, spacing_mm=(3.0, 3.0, 3.0)).image
    on_gpu, on_cpu = (
        Segmenter(
            plans=trainer.plans_manager.plans,
            dataset_json=trainer.dataset_json,
            configuration="3d_fullres",
            weights=[weights],
            mirror_axes=(2,),
            recipe=PredictionRecipe(),
            device=torch.device(device),
            threads=1,
        ).segment(image)
        for device in ("cuda", "cpu")
    )
    assert on_gpu.grid.difference(image.grid) is None
    assert np.mean(on_cpu.array > 0) > 0.005, "it found bone"
    assert np.mean(on_gpu.array == on_cpu.array) > 0.99
    bone = (on_cpu.array > 0) | (on_gpu.array > 0)
    assert np.mean(on_gpu.array[bone] == on_cpu.array[bone]) > 0.95
