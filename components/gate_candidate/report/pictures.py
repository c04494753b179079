"""The worst cases of an evaluation as pictures: which they are, what is said of them, and their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_registry.errors import EvidenceError
from spine.dataset import Case, Manifest, image_path, labels_path
from spine.drawing.markup import number, shift_words
from spine.metrics.naming import misnamed_in_words
from spine.metrics.scores import Evaluation, ScanScores
from spine.storage import atomic_file
from spine.volume.nifti import read_image, read_labels, require_one_grid


@dataclass(frozen=True)
class CasePicture:
    """A PNG of one case with what it shows."""

    case: str
    caption: str
    png: bytes


def make_pictures(*, dataset: Path, predictions: Path, evaluation: Evaluation, worst: int = 10) -> list[CasePicture]:
    """Draw the ``worst`` scans by mean Dice from a prepared ``dataset`` and a folder of ``<case>.nii.gz``.

    A prediction that was not written is shown as such. Raises EvidenceError where the data set lacks a case.
    """
    cases = {case.case: case for case in Manifest.of(dataset).cases}
    scored = [scan for scan in evaluation.scans if scan.mean_dice is not None]
    scored.sort(key=lambda scan: (scan.mean_dice or 0.0, scan.case))
    unknown = [scan.case for scan in scored[:worst] if scan.case not in cases]
    if unknown:
        raise EvidenceError(f"'{evaluation.name}' scores {unknown[0]}, which {dataset} does not hold")
    return [_picture(dataset, predictions, cases[scan.case], scan) for scan in scored[:worst]]


def write_pictures(folder: Path, pictures: Sequence[CasePicture]) -> list[Path]:
    """Save each picture as ``<case>.png`` and return the files."""
    paths = [folder / f"{picture.case}.png" for picture in pictures]
    for path, picture in zip(paths, pictures, strict=True):
        with atomic_file(path) as partial:
            partial.write_bytes(picture.png)
    return paths


def _picture(dataset: Path, predictions: Path, case: Case, scan: ScanScores) -> CasePicture:
    from spine.drawing.overlays import draw_case
    from spine.drawing.planes import cut

    image, reference = read_image(image_path(dataset, case)), read_labels(labels_path(dataset, case))
    file = predictions / f"{case.case}.nii.gz"
    prediction = read_labels(file) if file.is_file() else None
    if prediction:
        require_one_grid(reference, prediction, names=(labels_path(dataset, case), file))
    planes = cut(image=image, reference=reference, prediction=prediction)
    return CasePicture(case=scan.case, caption=_caption(scan), png=draw_case(case=scan.case, planes=planes))


def _caption(scan: ScanScores) -> str:
    if scan.missing:
        return "No prediction was written; it scores 0."
    parts = [f"Dice {number(scan.mean_dice)}, bone Dice {number(scan.bone_dice)}; {_names_in_words(scan)}."]
    absent = sum(1 for score in scan.labels if score.reference_voxels and not score.predicted_voxels)
    if absent:
        parts.append(f"{absent} of {sum(1 for s in scan.labels if s.reference_voxels)} names not predicted.")
    if scan.false_positive_labels:
        parts.append(f"{scan.false_positive_labels} label(s) predicted that the reference lacks.")
    return " ".join(parts)


def _names_in_words(scan: ScanScores) -> str:
    """Say at which level the scan is named and which vertebrae have a wrong name: a shift is that of most bone only."""
    misnamed = misnamed_in_words(scan)
    if not misnamed:
        return shift_words(scan)
    return misnamed if scan.level_shift == 0 else f"{shift_words(scan)}: {misnamed}"
