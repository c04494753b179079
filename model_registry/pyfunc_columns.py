"""Columns of a version's python_function, apart from the model: writing one needs no network and no numba."""

from typing import Final

SCAN: Final = "scan"
"""Column of scans: the content of a .nii or .nii.gz file in base64."""
PATH: Final = "path"
"""Column of scans on this machine: the path of a .nii or .nii.gz file. The server never reads it."""
MASK: Final = "mask"
"""Column of masks: a .nii.gz file of ids 0-25 in base64, on the scan's own grid."""
REPORT: Final = "report"
"""Column of JSON: the report on a scan."""
