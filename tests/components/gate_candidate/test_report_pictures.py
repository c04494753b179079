"""Pictures of the worst cases, drawn from a small prepared data set on disk."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.gate_candidate.report import make_pictures, write_pictures
from model_registry.errors import EvidenceError
from spine.dataset import MANIFEST_FILE, Case, Manifest, image_path, labels_path
from spine.drawing.planes import cut
from spine.drawing.shading import EXTRA, MISNAMED, MISSED, errors
from spine.labels import IDS
from spine.metrics.scans import score_scan
from spine.metrics.scores import Evaluation
from spine.metrics.summary import summarize
from spine.phantom import make_scan
from spine.storage import write_json
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, to_canonical, write_volume


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Evaluation]:
    """Four scans: one right, one named a level off, one with L2 named S1, one without a prediction."""
    root = tmp_path_factory.mktemp("evidence")
    dataset, predictions = root / "prepared", root / "predictions"
    cases, scans = [], []
    for number, name in enumerate(("right", "shifted", "skipped", "missing")):
        made = make_scan(seed=3, patient=number, first=21, last=23, spacing_mm=(4.0, 4.0, 4.0))
        image, labels = to_canonical(made.image), to_canonical(made.labels)
        case = _case(name, labels)
        write_volume(image_path(dataset, case), image)
        write_volume(labels_path(dataset, case), labels)
        guess = None
        if name != "missing":
            named = np.where(labels.array > 0, labels.array - (name == "shifted"), 0).astype(np.uint8)
            if name == "skipped":
                named[named == IDS["L2"]] = IDS["S1"]
            guess = Volume(array=named, grid=labels.grid)
            write_volume(predictions / f"{name}.nii.gz", guess)
        cases.append(case)
        scans.append(score_scan(case=name, patient=case.patient, reference=labels, prediction=guess))
    manifest = Manifest(seed=1, layout="kaggle", label_map="ours", cases=tuple(cases), quarantine=())
    write_json(dataset / MANIFEST_FILE, manifest.model_dump(mode="json"))
    return dataset, predictions, Evaluation(name="x", scans=tuple(scans), summary=summarize(scans))


def _case(name: str, labels: Volume) -> Case:
    return Case(
        case=name, patient=name, split="test", fold=None, image_sha256="", labels_sha256="",
        spacing_mm=labels.grid.spacing_mm, shape=labels.grid.shape, source_orientation="RAS",
        label_voxels={}, border=(), fragments=(), voxels_sha256="", source=(), findings=(),
    )  # fmt: skip


def test_the_worst_cases_are_drawn_and_saved(evidence: tuple[Path, Path, Evaluation], tmp_path: Path) -> None:
    dataset, predictions, evaluation = evidence
    pictures = make_pictures(dataset=dataset, predictions=predictions, evaluation=evaluation, worst=2)
    assert {picture.case for picture in pictures} == {"missing", "shifted"}
    captions = {picture.case: picture.caption for picture in pictures}
    assert "No prediction was written" in captions["missing"]
    assert "named 1 level too high: L2-L5 called L1-L4." in captions["shifted"]
    for path, picture in zip(write_pictures(tmp_path, pictures), pictures, strict=True):
        assert path == tmp_path / f"{picture.case}.png"
        with Image.open(path) as image:
            assert image.width <= 1240
        assert len(picture.png) < 400_000


def test_a_caption_names_what_is_misnamed_over_bone_that_is_right_as_a_whole(
    evidence: tuple[Path, Path, Evaluation],
) -> None:
    dataset, predictions, evaluation = evidence
    pictures = make_pictures(dataset=dataset, predictions=predictions, evaluation=evaluation)
    captions = {picture.case: picture.caption for picture in pictures}
    assert "; L2 called S1. 1 of 3 names not predicted." in captions["skipped"]
    assert "right level" not in captions["skipped"] and "named at the right level" in captions["right"]


def test_pictures_are_the_same_on_every_run(evidence: tuple[Path, Path, Evaluation]) -> None:
    dataset, predictions, evaluation = evidence
    first, second = (
        make_pictures(dataset=dataset, predictions=predictions, evaluation=evaluation, worst=1) for _ in range(2)
    )
    assert first == second


def test_a_case_that_the_data_set_lacks_is_refused(evidence: tuple[Path, Path, Evaluation]) -> None:
    dataset, predictions, evaluation = evidence
    stranger = evaluation.scans[0].model_copy(update={"case": "stranger", "mean_dice": 0.0})
    foreign = evaluation.model_copy(update={"scans": (stranger,)})
    with pytest.raises(EvidenceError, match="stranger"):
        make_pictures(dataset=dataset, predictions=predictions, evaluation=foreign)


def test_planes_are_upright_with_anterior_and_the_patients_right_on_the_left() -> None:
    # RAS: label 5 right, 6 anterior, 7 superior of the block of 4; the planes must show them left, left and on top.
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    labels[18:22, 18:22, 15:25] = 4
    labels[22:26, 18:22, 15:20] = 5
    labels[18:22, 22:26, 15:20] = 6
    labels[18:22, 18:22, 25:28] = 7
    volume = Volume(array=labels, grid=Grid.of(labels.shape, np.diag([2.0, 3.0, 4.0, 1.0])))
    sagittal, coronal = cut(image=volume, reference=volume, prediction=None)
    assert _column(sagittal.reference, 6) < _column(sagittal.reference, 4)
    assert _column(coronal.reference, 5) < _column(coronal.reference, 4)
    assert _row(sagittal.reference, 7) < _row(sagittal.reference, 4)
    sampled = sagittal.sampled(pixels_per_mm=2.0)
    rows, columns = (np.ptp(axis) + 1 for axis in np.nonzero(sampled.reference == 7))
    assert (rows, columns) == (3 * 4 * 2, 4 * 3 * 2)


def test_an_error_is_missed_extra_or_misnamed() -> None:
    reference, prediction = np.array([[1, 1, 0, 2]], dtype=np.uint8), np.array([[1, 0, 3, 3]], dtype=np.uint8)
    found = {error: shape.tolist() for error, shape in errors(reference, prediction)}
    assert found == {
        MISSED: [[False, True, False, False]],
        EXTRA: [[False, False, True, False]],
        MISNAMED: [[False, False, False, True]],
    }


def test_importing_the_report_does_not_import_matplotlib() -> None:
    code = "import sys, components.gate_candidate.report as r; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _column(labels: np.ndarray, label: int) -> float:
    return float(np.nonzero(labels == label)[1].mean())


def _row(labels: np.ndarray, label: int) -> float:
    return float(np.nonzero(labels == label)[0].mean())
