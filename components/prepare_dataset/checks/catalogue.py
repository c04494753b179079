"""Every check by its stable name: how severe what it finds is, what it looks at, and what its number means."""

from dataclasses import dataclass
from typing import Final

from spine.dataset import Finding, Severity


@dataclass(frozen=True)
class Check:
    """One check: a finding of severity ``reject`` quarantines its case."""

    severity: Severity
    about: str
    number: str


CHECKS: Final = {
    "one-mask-a-volume": Check("reject", "every volume has exactly one mask and the other way round", "files there"),
    "unique-files": Check("reject", "one file a case, not a.nii beside a.nii.gz", "files there"),
    "honest-suffix": Check("reject", "a .nii.gz is gzip, a .nii is not", "bytes of the file"),
    "readable": Check("reject", "files are whole and can be decoded", "bytes of the file"),
    "three-dimensions": Check("reject", "volume and mask have three dimensions and voxels", "dimensions"),
    "finite-voxels": Check("reject", "no voxel is NaN or infinite", "voxels that are"),
    "hounsfield-range": Check("reject", "voxels are CT in HU, with contrast", "the HU furthest out"),
    "orthonormal-axes": Check("reject", "axes are perpendicular within 1e-4", "largest cosine between two axes"),
    "one-grid": Check("reject", "volume and mask agree in size, spacing, origin, direction (1e-4)", "the difference"),
    "label-ids": Check("reject", "labels are whole numbers of the data set's label map", "the label, or how many"),
    "overlapping-masks": Check("reject", "masks of two vertebrae share no voxel", "voxels in both"),
    "mask-not-empty": Check("reject", "the mask holds a vertebra", "voxels of bone"),
    "one-series": Check("reject", "a DICOM folder holds one CT series and frame of reference", "how many"),
    "gantry-tilt": Check("reject", "DICOM slices are stacked along their normal", "degrees off it"),
    "uniform-slices": Check("reject", "DICOM slices have even gaps, none missing or doubled", "the odd gap in mm"),
    "duplicate": Check("reject", "no other case has the same voxels", "voxels in common"),
    "split-conflict": Check("reject", "no patient, and no near-duplicate, on both sides of the lock", "cases in test"),
    "set-aside": Check("reject", "not named in the file of cases set aside by hand", "1"),
    "unnamed-anatomy": Check("warn", "no bone whose name is none of the 25 (L6, T13): it becomes background", "voxels"),
    "contiguous-levels": Check("warn", "labels follow one another without a gap", "levels skipped"),
    "superior-to-inferior": Check("warn", "centroids descend in the order of the labels", "mm too high"),
    "adjacent-levels": Check("warn", "only neighbouring levels touch", "mm² in contact"),
    "one-component": Check("warn", "each vertebra is one piece", "share of its voxels in the main one"),
    "upright-spine": Check("warn", "the levels are stacked along the axis of the body", "degrees off it"),
    "level-height": Check("warn", "no vertebra is taller than one can be (130 mm)", "mm"),
    "level-distance": Check("warn", "neighbours are 5 to 70 mm apart", "mm"),
    "level-spacing": Check("warn", "centroids are evenly far apart", "ratio to the distances nearby"),
    "level-size": Check("warn", "a vertebra is about as large as its neighbours", "ratio of volumes"),
    "mask-on-bone": Check("warn", "what is labelled is as bright as bone", "mean HU"),
    "mask-mirrored": Check("warn", "no mirror image of the mask lies better on bone", "HU by which one does"),
    "centroids-agree": Check("warn", "VerSe's centroids lie in the vertebrae of their names", "centroids that don't"),
    "known-axes": Check("warn", "the header says which way its axes point", "0"),
    "known-patient": Check("warn", "patients.csv, where there is one, has a row for the case", "rows"),
    "near-duplicate": Check("warn", "no other patient's vertebrae look the same", "correlation"),
    "label-type": Check("note", "the mask is stored as integers of at most 32 bits", "bits a voxel"),
    "orientation": Check("note", "stored in RAS order", "axes moved or flipped"),
    "border-fragment": Check("note", "no vertebra is cut down to a sliver", "voxels of it"),
    "localizer": Check("note", "no localizer among the DICOM files: they are left out", "files"),
    "missing-uids": Check("note", "DICOM files have their UIDs", "files without"),
}  # fmt: skip


def finding(check: str, *, case: str, value: float, message: str) -> Finding:
    """Return a finding with the severity that its check has."""
    return Finding(check=check, severity=CHECKS[check].severity, case=case, value=round(value, 4), message=message)
