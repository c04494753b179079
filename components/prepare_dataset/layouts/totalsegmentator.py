"""TotalSegmentator: a folder a case with ``ct.nii.gz`` and ``segmentations/``, a mask a vertebra."""

from pathlib import Path

from components.prepare_dataset.label_maps import TOTALSEGMENTATOR
from components.prepare_dataset.raw_case import RawCase

EXPECTED = "a folder a case with ct.nii.gz and segmentations/vertebrae_C1.nii.gz … vertebrae_S1.nii.gz"
MASK_PREFIX = "vertebrae_"
_IMAGES = ("ct.nii.gz", "ct.nii")


def find_cases(raw: Path) -> list[RawCase] | None:
    """Return the cases, or None where no folder holds a ``ct.nii.gz``.

    Source: Wasserthal et al. 2023, Radiology: AI 5(5):e230024. Masks of other organs are not read.
    """
    folders = [path for path in sorted(raw.iterdir()) if path.is_dir() and path.name[0] != "."]
    cases = [case for case in map(_case, folders) if case.image or case.labels]
    return cases if any(case.image for case in cases) else None


def _case(folder: Path) -> RawCase:
    masks = folder / "segmentations"
    try:
        names = {path.name for path in folder.iterdir()}
    except PermissionError:
        # Named as it would be, so that reading it tells why it can't be read.
        return RawCase(case=folder.name, image=folder / _IMAGES[0], labels=masks, label_map=TOTALSEGMENTATOR)
    images = [folder / name for name in _IMAGES if name in names]
    has_masks = masks.name in names and any(masks.glob(f"{MASK_PREFIX}*.nii*"))
    return RawCase(
        case=folder.name,
        image=images[0] if images else None,
        labels=masks if has_masks else None,
        label_map=TOTALSEGMENTATOR,
        duplicates=tuple(images[1:]),
    )
