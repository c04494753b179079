"""The report of a mask tells every vertebra once, with what to look at, and says what could not be compared."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import components.serve_model
from model_registry.scan_flags import NOT_COMPARED, NOTHING_FOUND, OUTSIDE_HU, OUTSIDE_SPACING, SCAN_DEFINITIONS
from model_registry.segmentation_report import FLAG_NAMES, SegmentationReport, report
from model_registry.training_distribution import TrainingDistribution
from spine.labels import NAMES, VERTEBRAE
from spine.phantom import make_scan
from spine.postprocessing.choice import NOTHING, Postprocessing, apply
from spine.postprocessing.flags import DEFINITIONS
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import vote_evidence
from spine.volume.nifti import Volume

TRAINED = TrainingDistribution(
    scans=9, least_spacing_mm=(3.0,) * 3, largest_spacing_mm=(3.0,) * 3, bone_hu=(-83.0, 276.0, 1442.0)
)


def reported(labels, image, *, postprocessing=NOTHING, training_distribution=TRAINED):
    found = find_instances(labels)
    decoded = apply(labels, postprocessing=postprocessing, evidence=vote_evidence(found), instances=found)
    return decoded, report(
        decoded, image, version=3, model_digest="sha256:1", training_distribution=training_distribution
    )


@pytest.fixture(scope="module")
def scan():
    return make_scan(seed=31, patient=20, first=8, last=22, orientation="PIR")


def test_every_vertebra_is_told_from_superior_to_inferior(scan):
    decoded, told = reported(scan.labels, scan.image)
    assert (told.version, told.model_digest) == (3, "sha256:1")
    assert "not for clinical use" in told.disclaimer
    assert (told.grid.shape, told.grid.orientation) == (scan.labels.grid.shape, "PIR")
    assert [each.label for each in told.vertebrae] == [int(label) for label in np.unique(scan.labels.array) if label]
    for each in told.vertebrae:
        where = np.argwhere(decoded.labels.array == each.label)
        assert (each.name, each.snomed) == (NAMES[each.label], VERTEBRAE[each.label - 1].snomed)
        assert each.voxels == len(where)
        assert each.volume_mm3 == pytest.approx(27 * len(where))
        assert each.centroid_mm == pytest.approx(scan.labels.grid.millimetres(where.mean(axis=0)), abs=1e-3)
        cut = bool((where == 0).any() or (where == np.array(scan.labels.grid.shape) - 1).any())
        assert each.touches_border == cut == ("cut at the border" in each.flags)
        assert each.confidence == pytest.approx(1.0, abs=0.02)
    assert told.flags == told.remarks == ()
    assert set(told.raised()) == {"cut at the border"}


def test_both_of_a_doubled_level_are_told_with_their_own_sizes(scan, plant_name):
    _, told = reported(plant_name(scan.labels, 14, 13), scan.image)
    twins = [each for each in told.vertebrae if each.label == 13]
    sizes = [np.count_nonzero(scan.labels.array == label) for label in (13, 14)]
    assert [each.voxels for each in twins] == pytest.approx(sizes, rel=0.03)
    assert all("repeated level" in each.flags for each in twins)
    assert told.raised().count("repeated level") == 2


def test_what_was_removed_is_not_told_and_what_belongs_to_nothing_is(scan):
    array = scan.labels.array.copy()
    array[1:3, 1:3, 1:3], array[-3:-1, -3:-1, -3:-1] = 3, 3
    array[-1, -2, -2] = 3
    odd = Volume(array=array, grid=scan.labels.grid)
    assert reported(odd, scan.image)[1].stray_voxels == {"C3": 17}
    _, told = reported(odd, scan.image, postprocessing=Postprocessing(keep_largest=(3,)))
    assert told.stray_voxels == {"C3": 9}


def test_flags_of_the_scan_come_with_a_remark_each(scan):
    coarse = TRAINED.model_copy(update={"least_spacing_mm": (1.0,) * 3, "largest_spacing_mm": (1.0,) * 3})
    image = Volume(array=scan.image.array + 1024, grid=scan.image.grid)
    _, told = reported(scan.labels, image, training_distribution=coarse)
    assert told.flags == (OUTSIDE_SPACING, OUTSIDE_HU)
    assert len(told.remarks) == 2
    assert "trained on 1 mm" in told.remarks[0]
    assert told.raised()[:2] == told.flags


def test_without_a_training_distribution_no_such_flag_is_given_and_that_is_said(scan):
    image = Volume(array=scan.image.array + 1024, grid=scan.image.grid)
    _, told = reported(scan.labels, image, training_distribution=None)
    assert told.flags == ()
    assert told.remarks == (NOT_COMPARED,)


def test_an_empty_mask_is_told_as_such(scan):
    empty = Volume(array=np.zeros_like(scan.labels.array), grid=scan.labels.grid)
    for training_distribution, more in ((TRAINED, ()), (None, (NOT_COMPARED,))):
        _, told = reported(empty, scan.image, training_distribution=training_distribution)
        assert told.vertebrae == ()
        assert told.raised() == (NOTHING_FOUND,)
        assert told.remarks[0].startswith("no vertebra was found")
        assert told.remarks[1:] == more


def test_a_map_that_is_no_spine_s_is_told_by_label():
    random = np.random.default_rng(1)
    array = random.integers(0, 26, (64, 64, 64), dtype=np.uint8)
    scan = make_scan(seed=1, patient=1)
    volume = Volume(array=array, grid=scan.labels.grid.of(array.shape, scan.labels.grid.matrix))
    image = Volume(array=random.normal(0, 300, array.shape), grid=volume.grid)
    _, told = reported(volume, image)
    assert [each.label for each in told.vertebrae] == list(range(1, 26))
    assert all(each.flags == ("not decoded",) and each.touches_border for each in told.vertebrae)
    assert [each.voxels for each in told.vertebrae] == np.bincount(array.ravel())[1:].tolist()
    assert all((each.confidence, each.margin) == (0, 0) for each in told.vertebrae)


def test_the_schema_defines_every_flag():
    schema = SegmentationReport.model_json_schema()
    of_scan, of_vertebra = schema["properties"], schema["$defs"]["VertebraFinding"]["properties"]
    assert (*of_scan["flags"]["items"]["enum"], *of_vertebra["flags"]["items"]["enum"]) == FLAG_NAMES
    text = str(schema)
    assert set(DEFINITIONS) | set(SCAN_DEFINITIONS) == set(FLAG_NAMES)
    assert all(f"`{flag}`: " in text for flag in FLAG_NAMES)
    assert all(meaning.split(":")[0][:30] in text.replace("\\'", "'") for meaning in DEFINITIONS.values())


def test_the_readme_defines_every_flag_in_the_same_words():
    rows = (Path(components.serve_model.__file__).parent / "README.md").read_text().splitlines()
    for flag, meaning in (DEFINITIONS | SCAN_DEFINITIONS).items():
        assert f"| `{flag}` | {meaning} |" in rows


def test_the_names_of_the_flags_come_without_torch():
    code = "import sys; from model_registry.segmentation_report import FLAG_NAMES; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.fixture
def plant_name():
    def renamed(labels, label, name):
        array = np.where(labels.array == label, name, labels.array).astype(np.uint8)
        return Volume(array=array, grid=labels.grid)

    return renamed
