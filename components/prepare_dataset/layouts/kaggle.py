"""The Kaggle set: ``volumes/`` and ``segmentations/`` with files of the same names, our label ids."""

from pathlib import Path

from components.prepare_dataset.raw_case import RawCase, pair, volumes_in

EXPECTED = "volumes/ and segmentations/ with files of the same names (case_0000.nii or .nii.gz)"


def find_cases(raw: Path) -> list[RawCase] | None:
    """Return the cases, or None where the two folders or any volume is missing."""
    images, labels = raw / "volumes", raw / "segmentations"
    if not images.is_dir() or not labels.is_dir():
        return None
    volumes = volumes_in(images.iterdir())
    return pair(volumes, volumes_in(labels.iterdir())) if volumes else None
