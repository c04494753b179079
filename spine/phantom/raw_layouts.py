"""A phantom scan written as each data set lays its cases out: names, label ids and files beside the masks."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from spine.labels import IDS, NAMES
from spine.metrics.identification import border_labels, centroids_mm
from spine.phantom.dicom_series import write_series
from spine.phantom.scans import PhantomScan
from spine.storage import write_json, write_text
from spine.volume.nifti import Volume, write_volume


@dataclass(frozen=True)
class RawCase:
    """One case of a raw set: its name and its patient's, its image (of DICOM the folder), its mask or masks' folder."""

    case: str
    patient: str
    image: Path
    labels: Path


def _kaggle(folder: Path, number: int, patient: int, scan: PhantomScan) -> RawCase:
    case = f"case_{number:04d}"
    image, labels = (folder / kind / f"{case}.nii.gz" for kind in ("volumes", "segmentations"))
    return _pair(case, f"patient_{patient:03d}", scan.image, image, scan.labels, labels)


def _totalsegmentator(folder: Path, number: int, patient: int, scan: PhantomScan) -> RawCase:
    case = f"s{number:04d}"
    image, masks = folder / case / "ct.nii.gz", folder / case / "segmentations"
    write_volume(image, scan.image)
    for label, name in NAMES.items():
        mask = (scan.labels.array == label).astype(np.uint8)
        write_volume(masks / f"vertebrae_{name}.nii.gz", Volume(array=mask, grid=scan.labels.grid))
    return RawCase(case, f"patient_{patient:03d}", image, masks)


def _verse(folder: Path, number: int, patient: int, scan: PhantomScan) -> RawCase:
    subject = f"sub-verse{patient:03d}"
    case = f"{subject}_split-verse{number:03d}"
    image = folder / "rawdata" / subject / f"{case}_ct.nii.gz"
    labels = folder / "derivatives" / subject / f"{case}_seg-vert_msk.nii.gz"
    known = _without_sacrum(scan.labels)
    to_index = np.linalg.inv(known.grid.matrix)
    rows: list[dict[str, object]] = [{"direction": list(known.grid.orientation)}]
    cut = border_labels(known.array)
    # VerSe marks whole vertebrae.
    for label, centre in centroids_mm(known).items():
        if label in cut:
            continue
        x, y, z = (to_index[:3, :3] @ centre + to_index[:3, 3]).round(2).tolist()
        rows.append({"label": label, "X": x, "Y": y, "Z": z})
    write_text(labels.with_name(f"{case}_seg-subreg_ctd.json"), json.dumps(rows) + "\n")
    return _pair(case, subject, scan.image, image, known, labels)


def _ctspine1k(folder: Path, number: int, patient: int, scan: PhantomScan) -> RawCase:
    case = f"phantom_{number}"
    image = folder / "volumes" / "phantom" / f"{case}.nii.gz"
    labels = folder / "labels" / "phantom" / f"{case}_seg.nii.gz"
    return _pair(case, f"patient_{patient:03d}", scan.image, image, _without_sacrum(scan.labels), labels)


def _nnunet(folder: Path, number: int, patient: int, scan: PhantomScan) -> RawCase:
    case = f"vertebrae_{number:03d}"
    image, labels = folder / "imagesTr" / f"{case}_0000.nii.gz", folder / "labelsTr" / f"{case}.nii.gz"
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, **IDS},
            "numTraining": number + 1,
            "file_ending": ".nii.gz",
        },
    )
    return _pair(case, f"patient_{patient:03d}", scan.image, image, scan.labels, labels)


def _dicom(folder: Path, number: int, patient: int, scan: PhantomScan) -> RawCase:
    case, name = f"series_{number:03d}", f"patient_{patient:03d}"
    image, labels = folder / "dicom" / case, folder / "segmentations" / f"{case}.nii.gz"
    write_series(image, scan.image, patient=name, series=number + 1)
    write_volume(labels, scan.labels)
    return RawCase(case, name, image, labels)


WRITERS: Final[dict[str, Callable[[Path, int, int, PhantomScan], RawCase]]] = {
    "kaggle": _kaggle,
    "totalsegmentator": _totalsegmentator,
    "verse": _verse,
    "ctspine1k": _ctspine1k,
    "nnunet": _nnunet,
    "dicom": _dicom,
}
"""By name of the layout: a function of the raw folder, the scan's number, the patient's, and the scan."""


def _pair(case: str, patient: str, image: Volume, image_path: Path, labels: Volume, labels_path: Path) -> RawCase:
    write_volume(image_path, image)
    write_volume(labels_path, labels)
    return RawCase(case, patient, image_path, labels_path)


def _without_sacrum(labels: Volume) -> Volume:
    """Leave S1 out, which these data sets don't label; their ids of all other vertebrae are ours."""
    return Volume(array=np.where(labels.array == IDS["S1"], 0, labels.array).astype(np.uint8), grid=labels.grid)
