"""CTSpine1K: ``volumes/<source>/`` and ``labels/<source>/``, masks ending in ``_seg``, its own label ids."""

from pathlib import Path

from components.prepare_dataset.label_maps import CTSPINE1K
from components.prepare_dataset.raw_case import RawCase, pair, volumes_in

EXPECTED = "volumes/ and labels/ (or both below rawdata/), masks named as their volumes with _seg (liver_0_seg.nii.gz)"
_HOMES = (".", "rawdata", "raw_data")


def find_cases(raw: Path) -> list[RawCase] | None:
    """Return the cases, or None where the two folders or any volume is missing.

    Source: Deng et al. 2021, CTSpine1K, arXiv 2105.14711; 25 is L6 there, which has no label here.
    """
    for home in (raw / name for name in _HOMES):
        images, labels = home / "volumes", home / "labels"
        if images.is_dir() and labels.is_dir():
            volumes = volumes_in(images.rglob("*"))
            masks = volumes_in(labels.rglob("*"), ending="_seg")
            return pair(volumes, masks, label_map=CTSPINE1K) if volumes else None
    return None
