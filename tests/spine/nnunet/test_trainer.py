"""Our trainer: mirroring by anatomical axis, atomic checkpoints, resuming, and weights that stock nnU-Net reads."""

import numpy as np
import pytest
import torch

from spine.nnunet import checkpoint_files, checkpoints
from spine.nnunet.axes import array_axis, mirrored_axes
from spine.nnunet.epochs import TrainingDivergedError
from spine.nnunet.segmentation import Segmenter
from spine.phantom import make_scan
from spine.recipe import PredictionRecipe
from spine.volume.nifti import Volume, write_volume


@pytest.mark.parametrize(("axis", "expected"), [("left-right", 2), ("anterior-posterior", 1), ("superior-inferior", 0)])
def test_anatomical_axes_are_array_axes_of_canonical_data(axis, expected):
    assert array_axis(axis) == expected


@pytest.mark.parametrize("axes", [(), ("left-right",), ("superior-inferior",)])
def test_augmented_arrays_are_mirrored_along_the_recipes_axes_only(build, tiny_training, axes):
    trainer = build(recipe=tiny_training.model_copy(update={"mirror_axes": axes}))
    trainer.initialize()
    _, _, _, allowed = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    transforms = trainer.get_training_transforms([32, 16, 16], (0.0, 0.0), None, allowed, False)
    spatial, *others = transforms.transforms
    spatial.p_rotation = spatial.p_scaling = 0
    ramp = torch.stack(torch.meshgrid(*(torch.arange(n) for n in (32, 16, 16)), indexing="ij")).float()
    label = (ramp[0:1] // 2).to(torch.int16)
    flipped = set()
    for _ in range(40):
        mirror = next((step for step in others if type(step).__name__ == "MirrorTransform"), None)
        if mirror is None:
            break
        seen = mirror(image=ramp.clone(), segmentation=label.clone())["image"]
        flipped |= {axis for axis in range(3) if seen[axis].flatten()[0] > seen[axis].flatten()[-1]}
    assert flipped == {array_axis(axis) for axis in axes}


def test_training_reports_every_epoch_and_leaves_a_sealed_checkpoint(build, tiny_training):
    reports = []
    trainer = build(on_epoch=reports.append)
    trainer.run_training()
    assert [report.epoch for report in reports] == [1, 2, 3]
    final = _folder(trainer) / checkpoint_files.FINAL
    loaded = checkpoints.load(final, digest=checkpoint_files.sealed_digest(final))
    assert loaded["current_epoch"] == tiny_training.epochs
    assert loaded["trainer_name"] == "nnUNetTrainer"
    assert checkpoint_files.held(final.parent) == [final], "beside a final checkpoint no other is kept"


def test_a_report_has_the_numbers_of_its_epoch(build, tiny_training):
    reports = []
    trainer = build(on_epoch=reports.append)
    trainer.run_training()
    logged = trainer.logger.get_checkpoint()
    last = reports[-1]
    assert last.train_loss == logged["train_losses"][-1]
    assert last.validation_loss == logged["val_losses"][-1]
    assert last.learning_rate == pytest.approx(0.001 * (1 - 2 / 3) ** 0.9), "nnU-Net's polynomial schedule"
    assert last.patches_per_second == pytest.approx(2 * 2 / last.seconds)
    assert 0 < last.waiting_seconds < last.seconds
    assert set(last.pseudo_dice_by_label) <= set(trainer.dataset_json["labels"]) - {"background"}
    assert last.pseudo_dice == pytest.approx(np.mean(list(last.pseudo_dice_by_label.values())))
    assert {"pseudo_dice", "train_loss", "epoch_seconds"} <= last.metrics().keys()


def test_a_loss_that_is_no_number_stops_the_fold_with_the_reason(build, tiny_training):
    diverging = tiny_training.model_copy(update={"optimizer": "sgd", "initial_learning_rate": 1e30})
    with pytest.raises(TrainingDivergedError, match=r"fold 0: training loss is nan in epoch 1, iteration 2; expected"):
        build(recipe=diverging).run_training()


@pytest.mark.parametrize("scaler", [None, torch.amp.GradScaler("cpu")])
def test_no_checkpoint_of_a_diverged_network_is_left(build, tiny_training, scaler):
    diverging = tiny_training.model_copy(update={"optimizer": "sgd", "initial_learning_rate": 1e30})
    trainer = build(recipe=diverging)
    trainer.grad_scaler = scaler
    with pytest.raises(TrainingDivergedError):
        trainer.run_training()
    for path in checkpoint_files.held(_folder(trainer)):
        loaded = checkpoints.load(path, digest=checkpoint_files.sealed_digest(path))
        assert all(np.isfinite(loaded["spineline"]["losses"])), path.name


def test_a_fold_that_learns_nothing_is_stopped_at_the_stated_epoch(build, tiny_training):
    flat = tiny_training.model_copy(update={"initial_learning_rate": 1e-12, "dice_by_epoch": 2, "seed": 3})
    reports = []
    trainer = build(recipe=flat, on_epoch=reports.append)
    trainer.validation_step = _sees_nothing(trainer.validation_step)
    with pytest.raises(TrainingDivergedError, match=r"never left 0 in 2 epochs .* expected .* by epoch 2"):
        trainer.run_training()
    assert len(reports) == 2


def _sees_nothing(step):
    def blind(batch):
        result = step(batch)
        return {**result, "tp_hard": result["tp_hard"] * 0, "fn_hard": result["fn_hard"] + 1}

    return blind


def test_the_same_seed_draws_the_same_weights_and_another_one_others(build, tiny_training):
    def first_weights(recipe):
        trainer = build(recipe=recipe)
        trainer.initialize()
        return next(iter(trainer.network.state_dict().values()))

    other = tiny_training.model_copy(update={"seed": 2})
    assert torch.equal(first_weights(tiny_training), first_weights(tiny_training))
    assert not torch.equal(first_weights(tiny_training), first_weights(other))


@pytest.mark.parametrize(
    ("axes", "dimensions", "expected"),
    [
        (("left-right",), 3, (2,)),
        (("left-right",), 2, (1,)),
        (("left-right", "anterior-posterior", "superior-inferior"), 2, (0, 1)),
        (("superior-inferior",), 2, ()),
    ],
)
def test_a_flat_network_mirrors_within_the_axial_plane_only(axes, dimensions, expected):
    assert mirrored_axes(axes, dimensions=dimensions) == expected


@pytest.mark.slow
def test_stock_nnunet_predicts_what_our_segmenter_predicts(build, resampled_by_torch, tmp_path):
    trainer = build()
    trainer.run_training()
    fold = _folder(trainer)
    scan = make_scan(seed=5, patient=1, spacing_mm=(4.0, 4.0, 4.0))
    image = Volume(array=scan.image.array.astype(np.float32), grid=scan.image.grid)
    ours = Segmenter.from_model_folder(
        fold.parent,
        digests={0: checkpoint_files.sealed_digest(fold / checkpoint_files.FINAL)},
        configuration="3d_fullres",
        recipe=PredictionRecipe(),
        device=torch.device("cpu"),
        threads=1,
    ).segment(image)
    assert ours.grid.difference(image.grid) is None
    (tmp_path / "in").mkdir()
    write_volume(tmp_path / "in" / "scan_0000.nii.gz", image)
    assert np.array_equal(ours.array, _stock_prediction(resampled_by_torch(fold.parent), tmp_path))
    assert np.mean(ours.array != _stock_prediction(fold.parent, tmp_path)) < 0.001


def _stock_prediction(model, tmp_path):
    import nibabel
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), use_folds=(0,))
    (tmp_path / "out").mkdir(exist_ok=True)
    predictor.predict_from_files_sequential(str(tmp_path / "in"), str(tmp_path / "out"))
    return np.asarray(nibabel.load(tmp_path / "out" / "scan.nii.gz").dataobj)


def test_a_scan_in_another_orientation_gets_the_same_mask_on_its_own_grid(build):
    from spine.volume.nifti import to_canonical

    trainer = build()
    trainer.initialize()
    segmenter = Segmenter(
        plans=trainer.plans_manager.plans,
        dataset_json=trainer.dataset_json,
        configuration="3d_fullres",
        weights=[trainer.network.state_dict()],
        mirror_axes=(2,),
        recipe=PredictionRecipe(),
        device=torch.device("cpu"),
        threads=1,
    )
    masks = {}
    for orientation in ("RAS", "PIR"):
        scan = make_scan(seed=5, patient=1, spacing_mm=(6.0, 6.0, 6.0), orientation=orientation)
        masks[orientation] = segmenter.segment(scan.image)
        assert masks[orientation].grid.difference(scan.image.grid) is None
    assert np.array_equal(to_canonical(masks["PIR"]).array, masks["RAS"].array)


def _folder(trainer):
    from pathlib import Path

    return Path(trainer.output_folder)
