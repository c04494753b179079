"""DICOM: a folder a series below ``dicom/`` (or ``volumes/``), masks as NIfTI files of the same names."""

from pathlib import Path

from components.prepare_dataset.raw_case import RawCase, pair, volumes_in

EXPECTED = "dicom/ (or volumes/) with a folder a CT series and segmentations/ with masks of the same names (.nii.gz)"
_IMAGES = ("dicom", "volumes")


def find_cases(raw: Path) -> list[RawCase] | None:
    """Return the cases, or None where no folder of series or of masks is there."""
    labels = raw / "segmentations"
    images = next((raw / name for name in _IMAGES if (raw / name).is_dir()), None)
    if images is None or not labels.is_dir():
        return None
    if volumes_in(path for path in images.iterdir() if path.is_file()):
        return None
    series = {path.name: [path] for path in sorted(images.iterdir()) if path.is_dir() and path.name[0] != "."}
    return pair(series, volumes_in(labels.iterdir())) if series else None
