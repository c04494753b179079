"""Our trainer: mirroring by anatomical axis, atomic checkpoints, resuming, and weights that stock nnU-Net reads."""

import threading

import numpy as np
import pytest
import torch

from spine.errors import DigestMismatchError
from spine.nnunet import checkpoints
from spine.nnunet.segmentation import Segmenter
from spine.nnunet.trainer import TrainingDivergedError, TrainingStoppedError, array_axis
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
    final = next(_folder(trainer).glob(checkpoints.FINAL))
    loaded = checkpoints.load(final, digest=checkpoints.sealed_digest(final))
    assert loaded["current_epoch"] == tiny_training.epochs
    assert loaded["trainer_name"] == "nnUNetTrainer"


def test_a_stopped_training_continues_from_its_last_checkpoint(build, tiny_training, tmp_path):
    stop = threading.Event()
    recipe = tiny_training.model_copy(update={"epochs": 4})
    trainer = build(recipe=recipe, stop=stop, on_epoch=lambda report: stop.set() if report.epoch == 2 else None)
    with pytest.raises(TrainingStoppedError):
        trainer.run_training()
    newest = checkpoints.newest_verified(_folder(trainer))
    assert newest is not None
    reports = []
    resumed = build(recipe=recipe, on_epoch=reports.append)
    resumed.resume(checkpoints.load(newest[0], digest=newest[1]))
    resumed.run_training()
    assert [report.epoch for report in reports] == [3, 4]
    assert len(resumed.history()["train_loss"]) == 4


def test_a_loss_that_is_no_number_stops_the_fold_with_the_reason(build, tiny_training):
    diverging = tiny_training.model_copy(update={"optimizer": "sgd", "initial_learning_rate": 1e30})
    with pytest.raises(TrainingDivergedError, match="fold 0: training loss is NaN in epoch"):
        build(recipe=diverging).run_training()


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(build):
    trainer = build()
    trainer.initialize()
    folder = _folder(trainer)
    for epoch in (1, 2, 3):
        checkpoints.save_periodic(trainer.state(), folder, epoch=epoch)
    names = [path.name for path in sorted(folder.glob("checkpoint_epoch_*.pth"))]
    assert names == ["checkpoint_epoch_00002.pth", "checkpoint_epoch_00003.pth"]
    newest = folder / names[1]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert checkpoints.newest_verified(folder)[0].name == names[0]


def test_a_checkpoint_with_another_digest_is_never_unpickled(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    checkpoints.save({"network_weights": {}}, path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(DigestMismatchError):
        checkpoints.load(path, digest="sha256:0")


@pytest.mark.slow
def test_stock_nnunet_predicts_what_our_segmenter_predicts(build, tmp_path):
    trainer = build()
    trainer.run_training()
    fold = _folder(trainer)
    scan = make_scan(seed=5, patient=1, spacing_mm=(4.0, 4.0, 4.0))
    image = Volume(array=scan.image.array.astype(np.float32), grid=scan.image.grid)
    ours = Segmenter.from_model_folder(
        fold.parent,
        digests={0: checkpoints.sealed_digest(fold / checkpoints.FINAL)},
        configuration="3d_fullres",
        recipe=PredictionRecipe(),
        device=torch.device("cpu"),
        threads=1,
    ).segment(image)
    assert ours.grid.difference(image.grid) is None
    (tmp_path / "in").mkdir()
    write_volume(tmp_path / "in" / "scan_0000.nii.gz", image)
    theirs = _stock_prediction(fold.parent, tmp_path)
    assert np.array_equal(ours.array, theirs)


def _stock_prediction(model, tmp_path):
    import nibabel
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), use_folds=(0,))
    (tmp_path / "out").mkdir()
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
