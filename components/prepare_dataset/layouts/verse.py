"""VerSe, subject based: BIDS names below ``rawdata/`` and ``derivatives/``, its own label ids, centroid files."""

from dataclasses import replace
from pathlib import Path

from components.prepare_dataset.label_maps import VERSE
from components.prepare_dataset.raw_case import RawCase, pair, volumes_in

EXPECTED = (
    "rawdata/sub-*/sub-*_ct.nii.gz and derivatives/sub-*/sub-*_seg-vert_msk.nii.gz (also one folder further down, as "
    "in dataset-01training/)"
)
_IMAGE, _MASK, _CENTROIDS = "_ct", "_seg-vert_msk", "_seg-*_ctd.json"


def find_cases(raw: Path) -> list[RawCase] | None:
    """Return the cases, or None where ``rawdata/`` and ``derivatives/`` hold no volume.

    A case is its file's name without the suffix, its patient the subject. Source: Sekuboyina et al. 2021, Med.
    Image Anal. 73:102166, and the description of the subject based structure beside the data.
    """
    homes = [home for home in (raw, *sorted(raw.iterdir())) if (home / "rawdata").is_dir()]
    homes = [home for home in homes if (home / "derivatives").is_dir()]
    volumes = volumes_in((path for home in homes for path in (home / "rawdata").rglob("*")), ending=_IMAGE)
    masks = volumes_in((path for home in homes for path in (home / "derivatives").rglob("*")), ending=_MASK)
    if not volumes:
        return None
    return [
        replace(case, patient=_subject(case.case), centroids=_centroids(case, homes))
        for case in pair(volumes, masks, label_map=VERSE)
    ]


def _subject(case: str) -> str:
    return case.split("_", 1)[0]


def _centroids(case: RawCase, homes: list[Path]) -> Path | None:
    found = [path for home in homes for path in (home / "derivatives").rglob(case.case + _CENTROIDS)]
    return min(found, default=None)
