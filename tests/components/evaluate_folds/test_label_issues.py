"""The list, the page and the pictures of suspects, from real volumes."""

import json

import numpy as np
import pytest
from PIL import Image

from components.evaluate_folds.label_issues import write_suspects
from spine.dataset import Case, image_path, labels_path
from spine.metrics.label_issues import SuspectList
from spine.phantom import make_scan
from spine.volume.nifti import Volume, write_volume


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Three training cases: predicted right, a level off, and not at all; the folder of their evaluation."""
    root = tmp_path_factory.mktemp("evaluated")
    cases = []
    for patient, name in enumerate(("right", "shifted", "crashed")):
        scan = make_scan(seed=3, patient=patient, first=20, last=24, spacing_mm=(4.0, 4.0, 4.0))
        labels = scan.labels
        case = Case(
            case=name, patient=f"p{patient}", split="train", fold=0, image_sha256="", labels_sha256="",
            voxels_sha256="", spacing_mm=labels.grid.spacing_mm, shape=labels.grid.shape, source=(),
            source_orientation="RAS", label_voxels={}, border=(), fragments=(), findings=(),
        )  # fmt: skip
        write_volume(image_path(root / "data", case), scan.image)
        write_volume(labels_path(root / "data", case), labels)
        if name != "crashed":
            array = np.where(labels.array > 0, labels.array - (name == "shifted"), 0).astype(np.uint8)
            write_volume(root / "predictions" / f"{name}.nii.gz", Volume(array=array, grid=labels.grid))
        cases.append(case)
    write_suspects(
        root / "evaluation", name="demo", dataset=root / "data", predictions=root / "predictions", cases=cases
    )
    return root / "evaluation"


def test_the_shifted_case_is_the_one_suspect(evaluated):
    found = SuspectList.of(evaluated)
    (only,) = found.suspects
    assert (found.name, found.cases, only.case, only.patient, only.shift) == ("demo", 3, "shifted", "p1", -1)
    assert only.misnamed == only.vertebrae >= 4 and "L2→L1" in only.message


def test_the_list_is_strict_json_without_a_path_of_this_machine(evaluated):
    text = (evaluated / "suspects" / "suspects.json").read_text()
    assert "page" not in json.loads(text) and str(evaluated) not in text


def test_the_page_shows_the_suspect_with_a_picture_that_is_there(evaluated):
    page = (evaluated / "suspects" / "index.html").read_text()
    assert "1 of 3 cases" in page and 'src="pictures/shifted.png"' in page and "L2→L1" in page
    with Image.open(evaluated / "suspects" / "pictures" / "shifted.png") as picture:
        assert picture.width > 600
    assert "right" not in {path.stem for path in (evaluated / "suspects" / "pictures").iterdir()}


def test_without_suspects_the_page_says_so(tmp_path):
    write_suspects(tmp_path, name="demo", dataset=tmp_path, predictions=tmp_path, cases=[])
    assert "No suspects." in (tmp_path / "suspects" / "index.html").read_text()
    assert SuspectList.of(tmp_path).suspects == ()
