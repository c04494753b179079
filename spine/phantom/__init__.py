"""Procedural CT phantoms of the spine, deterministic by seed, for tests, the demonstration and golden cases.

Raw data sets are written by ``spine.phantom.raw_set``, which is not imported here: it needs pydicom, scans do not.
"""

from spine.phantom.field_of_view import FieldOfView
from spine.phantom.scans import PhantomScan, make_scan

__all__ = ["FieldOfView", "PhantomScan", "make_scan"]
