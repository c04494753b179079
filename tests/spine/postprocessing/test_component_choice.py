"""The choice on the folds is nnU-Net's own, made from counts alone."""

import numpy as np
import pytest
from nnunetv2.postprocessing.remove_connected_components import determine_postprocessing

from spine.errors import InvalidValueError
from spine.postprocessing.component_choice import ComponentChoice, choose_components
from spine.postprocessing.components import counts_with_and_without, keep_largest_bone
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, write_volume

PLANS = {
    "dataset_name": "Dataset001_Tiny",
    "plans_name": "tiny",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "label_manager": "LabelManager",
    "configurations": {},
}
DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "first": 1, "second": 2, "third": 3},
    "file_ending": ".nii.gz",
}


def boxes(places):
    array = np.zeros((12, 12, 30), dtype=np.uint8)
    for label, start, stop in places:
        array[3:9, 3:9, start:stop] = label
    return array


REFERENCE = boxes([(1, 1, 8), (2, 8, 15), (3, 15, 22)])


def with_islands(label, *, places=(25, 27)):
    array = REFERENCE.copy()
    array[1:3, 1:3, places[0] : places[1]] = label
    return array


def with_truth_apart(label):
    """Half of a label was not found: what was found is in two pieces, and both are right."""
    array = REFERENCE.copy()
    rows = np.flatnonzero((array == label).any(axis=(0, 1)))
    array[:, :, rows[3]] = 0
    return array


FOLDERS = {
    "islands of one label": [with_islands(1), with_islands(1), REFERENCE],
    "islands of every label": [with_islands(1), with_islands(2), with_islands(3)],
    "right pieces": [with_truth_apart(2), with_truth_apart(2), REFERENCE],
    "both": [with_islands(3), with_truth_apart(2), with_islands(1, places=(25, 30))],
    "nothing to do": [REFERENCE, REFERENCE, REFERENCE],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_the_choice_is_nnunets_own(name, tmp_path):
    for number, prediction in enumerate(FOLDERS[name]):
        for folder, array in (("reference", REFERENCE), ("prediction", prediction)):
            volume = Volume(array=array, grid=Grid.of(array.shape, np.eye(4)))
            write_volume(tmp_path / folder / f"case_{number}.nii.gz", volume)
    functions, arguments = determine_postprocessing(
        str(tmp_path / "prediction"), str(tmp_path / "reference"), PLANS, DATASET, num_processes=1
    )
    removed = [given["labels_or_regions"] for given in arguments]
    assert len(functions) == len(removed)

    choice = choose_components(counted(FOLDERS[name], predicted=np.copy))
    with_bone = choose_components(
        counted(FOLDERS[name], predicted=np.copy),
        largest_bone=counted(FOLDERS[name], predicted=keep_largest_bone),
    )
    assert with_bone.largest_bone == ([1, 2, 3] in removed)
    assert list(with_bone.labels) == [label for label in removed if isinstance(label, int)]
    if not with_bone.largest_bone:
        assert choice == with_bone


def counted(predictions, *, predicted):
    return [counts_with_and_without(reference=REFERENCE, prediction=predicted(array)) for array in predictions]


def test_a_label_with_islands_is_chosen_and_all_bone_only_where_it_is_tried():
    cases = counted(FOLDERS["islands of one label"], predicted=np.copy)
    bone = counted(FOLDERS["islands of one label"], predicted=keep_largest_bone)
    assert choose_components(cases) == ComponentChoice(largest_bone=False, labels=(1,))
    assert choose_components(cases, largest_bone=bone) == ComponentChoice(largest_bone=True, labels=())


def test_largest_bone_is_not_chosen_where_it_costs_a_vertebra():
    cases = counted(FOLDERS["right pieces"], predicted=np.copy)
    bone = counted(FOLDERS["right pieces"], predicted=keep_largest_bone)
    assert choose_components(cases, largest_bone=bone) == ComponentChoice(largest_bone=False, labels=())


def test_no_cases_are_refused():
    with pytest.raises(InvalidValueError, match="at least one case"):
        choose_components([])
