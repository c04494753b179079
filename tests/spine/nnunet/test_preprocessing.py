"""Preprocessing: the same arrays and properties as nnU-Net's own preprocessor, on odd cases."""

import pickle

import numpy as np
import pytest

from spine.errors import GridMismatchError, InvalidValueError, MissingPathError
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, write_volume

LABELS = {"background": 0, **{f"level {number}": number for number in range(1, 26)}}
DATASET = {"channel_names": {"0": "CT"}, "labels": LABELS, "file_ending": ".nii.gz"}
INTENSITIES = {"mean": 250.0, "std": 210.0, "percentile_00_5": -500.0, "percentile_99_5": 1100.0}


def plans(*, spacing, scheme="CTNormalization", transpose=(0, 1, 2), image=(), labels=()):
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    resampling = {"order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "cases",
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": [16] * len(spacing),
        "spacing": list(spacing),
        "normalization_schemes": [scheme],
        "use_mask_for_norm": [scheme == "ZScoreNormalization"],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling, **dict(image)},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling, **dict(labels)},
        "architecture": {},
    }
    return PlansManager(
        {
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": list(transpose),
            "transpose_backward": list(np.argsort(transpose)),
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
            "configurations": {"only": configuration},
        }
    )


def scan(shape, *, seed=0, zeros=0.0, top=25):
    """Noise as int16 HU with a share of zeros, and boxes of labels."""
    rng = np.random.default_rng(seed)
    image = rng.normal(200, 400, shape).astype(np.int16)
    image[image == 0] = 1
    image[rng.random(shape) < zeros] = 0
    labels = np.zeros(shape, dtype=np.uint8)
    for label in rng.integers(1, top + 1, 6):
        corner = [rng.integers(0, edge) for edge in shape]
        labels[tuple(slice(place, place + rng.integers(1, 6)) for place in corner)] = label
    return image, labels


def both(image, labels, given, *, spacing):
    """Preprocess with nnU-Net's class and with ours, and require the same of both; return ours."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    from spine.nnunet.preprocessing import Preprocessor

    results = []
    for preprocessor in (DefaultPreprocessor(verbose=False), Preprocessor()):
        seg = None if labels is None else labels[None].astype(np.float32 if not results else labels.dtype)
        data = image[None].astype(np.float32) if not results else image[None]
        before = data.copy(), None if seg is None else seg.copy()
        results.append(
            preprocessor.run_case_npy(
                data, seg, {"spacing": list(spacing)}, given, given.get_configuration("only"), DATASET
            )
        )
        np.testing.assert_array_equal(data, before[0], "inputs are left as they are")
        np.testing.assert_array_equal(seg, before[1])
    require_same(*results)
    return results[1]


def require_same(theirs, ours):
    assert ours[0].dtype == theirs[0].dtype
    assert np.abs(ours[0] - theirs[0]).max() <= 2e-6
    assert ours[1].dtype == theirs[1].dtype
    np.testing.assert_array_equal(ours[1], theirs[1])
    drawn, drawn_here = (result[2].pop("class_locations", {}) for result in (theirs, ours))
    assert ours[2] == theirs[2]
    assert list(drawn) == list(drawn_here)
    for label, places in drawn.items():
        np.testing.assert_array_equal(drawn_here[label], places)


@pytest.mark.parametrize(
    ("spacing", "target"),
    [
        ((1.25, 0.8, 0.8), (1.5, 1.5, 1.5)),
        ((1.5, 1.5, 1.5), (0.9, 1.0, 0.7)),
        ((1.5, 1.5, 1.5), (1.5, 1.5, 1.5)),
        ((5.0, 0.8, 0.8), (1.5, 1.5, 1.5)),
        ((0.8, 5.0, 0.8), (1.5, 1.5, 1.5)),
        ((0.8, 0.8, 5.0), (1.5, 1.5, 1.5)),
        ((1.0, 1.0, 1.0), (4.0, 1.2, 1.2)),
        ((0.5, 2.0, 2.0), (1.5, 1.5, 1.5)),
        ((5.0, 0.8, 0.8), (1.0, 1.0)),
        ((1.0, 0.8, 0.8), (1.0, 1.0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("zeros", [0.0, 0.2])
def test_a_case_is_the_same_for_every_kind_of_spacing(spacing, target, zeros):
    image, labels = scan((13, 17, 14), zeros=zeros)
    _, preprocessed, _ = both(image, labels, plans(spacing=target), spacing=spacing)
    assert (preprocessed == -1).any() == bool(zeros), "zeros at the border are outside"


def test_random_cases_are_the_same():
    rng = np.random.default_rng(7)
    for seed in range(30):
        shape = tuple(int(edge) for edge in rng.integers(4, 20, 3))
        image, labels = scan(shape, seed=seed, zeros=rng.choice([0.0, 0.05, 0.5]))
        spacing, target = rng.uniform(0.6, 3.0, 3), rng.uniform(0.6, 3.0, 3)
        both(image, labels, plans(spacing=target), spacing=spacing)


def test_padding_of_zeros_is_cropped_and_a_zero_inside_stays():
    image, labels = scan((9, 10, 11))
    image[4, 4, 4] = 0
    padded = [np.pad(array, ((2, 3), (1, 0), (4, 4))) for array in (image, labels)]
    _, _, properties = both(*padded, plans(spacing=(1.5, 1.5, 1.5)), spacing=(1.0, 1.0, 1.0))
    assert properties["bbox_used_for_cropping"] == [[2, 11], [1, 11], [4, 15]]


def test_an_image_of_nothing_but_zeros_and_a_label_map_without_labels_are_the_same():
    image, labels = scan((8, 9, 10))
    given = plans(spacing=(1.5, 1.5, 1.5))
    both(np.zeros_like(image), labels, given, spacing=(1.0, 1.0, 1.0))
    _, _, properties = both(image, np.zeros_like(labels), given, spacing=(1.0, 1.0, 1.0))
    assert properties["shape_before_cropping"] == (8, 9, 10)


def test_a_label_of_one_voxel_and_an_axis_of_one_slice_are_the_same():
    image, labels = scan((9, 9, 9), top=3)
    labels[5, 5, 5] = 25
    both(image, labels, plans(spacing=(0.6, 0.6, 0.6)), spacing=(1.0, 1.0, 1.0))
    for axis in range(3):
        thin = [np.take(array, [4], axis) for array in (image, labels)]
        both(*thin, plans(spacing=(1.2, 1.2, 1.2)), spacing=(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "changed",
    [
        {"scheme": "ZScoreNormalization"},
        {"scheme": "NoNormalization", "image": {"order": 1}},
        {"scheme": "RescaleTo01Normalization"},
        {"transpose": (2, 0, 1)},
        {"image": {"order": 0}},
        {"labels": {"order": 0}},
        {"labels": {"order": 3}},
        {"image": {"order_z": 1, "force_separate_z": True}, "labels": {"force_separate_z": True}},
    ],
    ids=str,
)
def test_plans_other_than_the_usual_give_the_same(changed):
    # Small numbers: without a normalization, float32 itself is coarser than the tolerance.
    image, labels = scan((10, 12, 9), zeros=0.1)
    given = plans(spacing=(1.5, 1.4, 1.3), **changed)
    both(image // 200, labels, given, spacing=(3.0, 0.8, 0.9))


@pytest.mark.parametrize("target", [(1.5, 1.4, 1.3), (3.0, 0.8, 0.9)])
def test_another_resampling_function_is_called_as_by_nnunet(target):
    image, labels = scan((10, 12, 9), zeros=0.1)
    given = plans(spacing=target)
    configuration = given.get_configuration("only").configuration
    for kind in ("data", "seg"):
        configuration[f"resampling_fn_{kind}"] = "resample_torch_fornnunet"
        configuration[f"resampling_fn_{kind}_kwargs"] = {"is_seg": kind == "seg", "force_separate_z": None}
    both(image, labels, given, spacing=(3.0, 0.8, 0.9))


def test_a_case_without_labels_is_prepared_for_prediction_as_by_nnunet():
    image, _ = scan((12, 13, 14), zeros=0.1)
    both(image.astype(np.float32), None, plans(spacing=(1.5, 1.5, 1.5)), spacing=(1.0, 0.8, 0.8))
    both(image.astype(np.float64), None, plans(spacing=(1.5, 1.5, 1.5)), spacing=(1.0, 0.8, 0.8))


def test_a_spacing_that_leaves_no_voxel_is_refused():
    from spine.nnunet.preprocessing import Preprocessor

    image, labels = scan((9, 9, 1))
    given = plans(spacing=(1.0, 1.0, 3.0))
    with pytest.raises(InvalidValueError, match="extent"):
        Preprocessor().run_case_npy(
            image[None], labels[None], {"spacing": [1, 1, 1]}, given, given.get_configuration("only"), DATASET
        )


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.uint8])
def test_files_are_stored_as_nnunet_stores_them(tmp_path, dtype):
    import blosc2
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    from spine.nnunet.preprocessing import Preprocessor

    image, labels = scan((40, 33, 37), zeros=0.01)
    affine = np.array([[0, -0.9, 0, 5], [0.8, 0, 0, -7], [0, 0, 1.3, 11], [0, 0, 0, 1]])
    image_file, label_file = case(tmp_path, np.abs(image).astype(dtype), labels, affine=affine)
    given = plans(spacing=(1.5, 1.5, 1.5))
    for name, preprocessor in (("theirs", DefaultPreprocessor(verbose=False)), ("ours", Preprocessor())):
        configuration = given.get_configuration("only")
        preprocessor.run_case_save(
            str(tmp_path / name), [str(image_file)], str(label_file), given, configuration, DATASET
        )
    stored = []
    for name in ("theirs", "ours"):
        arrays = [blosc2.open(str(tmp_path / f"{name}{kind}.b2nd")) for kind in ("", "_seg")]
        stored.append([(array.chunks, array.blocks, array.dtype, array.schunk.cparams.codec) for array in arrays])
        stored[-1].append((arrays[0][:], arrays[1][:], pickle.loads((tmp_path / f"{name}.pkl").read_bytes())))
    assert stored[0][:2] == stored[1][:2]
    require_same(stored[0][2], stored[1][2])


def case(folder, image, labels, *, affine=None):
    grid = Grid.of(image.shape, np.diag([1.0, 0.8, 0.8, 1.0]) if affine is None else affine)
    paths = folder / "scan_0000.nii.gz", folder / "scan.nii.gz"
    for path, array in zip(paths, (image, labels), strict=True):
        write_volume(path, Volume(array=array, grid=Grid.of(array.shape, grid.matrix)))
    return paths


def test_a_scaled_file_is_read_by_nnunets_own_reader(tmp_path):
    import nibabel
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    from spine.nnunet.cases import read_case_image

    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    image.header.set_slope_inter(0.1, -3)
    path = tmp_path / "scan_0000.nii.gz"
    nibabel.save(image, path)
    ours, theirs = read_case_image(path), SimpleITKIO().read_images([str(path)])
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert ours[1] == theirs[1]


def test_damaged_pairs_are_told_by_their_file(tmp_path):
    from spine.nnunet.preprocessing import Preprocessor

    image, labels = scan((9, 9, 9))
    given = plans(spacing=(1.0, 1.0, 1.0))
    image_file, label_file = case(tmp_path, image, labels[:8])
    arguments = ([str(image_file)], str(label_file), given, given.get_configuration("only"), DATASET)
    with pytest.raises(GridMismatchError, match=r"scan\.nii\.gz"):
        Preprocessor().run_case(*arguments)
    label_file.unlink()
    with pytest.raises(MissingPathError, match=r"scan\.nii\.gz"):
        Preprocessor().run_case(*arguments)
